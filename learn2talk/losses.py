"""What a student and a sync expert minimise. Every function gives a sum and a count.

Axis letters: B batch, T frames, V vertices, N windows or latents, E embedding width, K negatives,
L latent width, P numbers of a pose.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from avsr.losses import LossSum


def vertex_loss(prediction: Tensor, target: Tensor, valid_mask: Tensor) -> LossSum:
    """Squared vertex error, mm^2: the mean over vertices of |p - y|^2, summed over real frames.

    Args:
        prediction, target: float (B, T, V, 3), mm.
        valid_mask: bool (B, T), True = a really tracked frame.
    """
    error = (prediction - target).square().sum(dim=-1).mean(dim=-1)
    return LossSum((error * valid_mask).sum(), int(valid_mask.sum()))


def velocity_loss(prediction: Tensor, target: Tensor, valid_mask: Tensor) -> LossSum:
    """Squared error of the frame-to-frame movement, (mm per frame)^2, over pairs of real frames.

    Args:
        prediction, target: float (B, T, V, 3), mm.
        valid_mask: bool (B, T).
    """
    pairs = valid_mask[:, 1:] & valid_mask[:, :-1]
    return vertex_loss(prediction.diff(dim=1), target.diff(dim=1), pairs)


def pose_loss(prediction: Tensor, target: Tensor, spread: Tensor, valid_mask: Tensor) -> LossSum:
    """Squared error of head poses in units of their spread: the mean over P, summed over frames.

    Args:
        prediction, target: float (B, T, 6), rad and mm.
        spread: float (P,), standard deviation of the first P numbers; those after are not counted.
        valid_mask: bool (B, T), True = a really tracked frame.
    """
    error = (prediction - target)[..., : len(spread)] / spread
    return LossSum((error.square().mean(dim=-1) * valid_mask).sum(), int(valid_mask.sum()))


def pose_velocity_loss(
    prediction: Tensor, target: Tensor, spread: Tensor, valid_mask: Tensor
) -> LossSum:
    """The same of the frame-to-frame movement, over pairs of real frames."""
    pairs = valid_mask[:, 1:] & valid_mask[:, :-1]
    return pose_loss(prediction.diff(dim=1), target.diff(dim=1), spread, pairs)


def gaussian_kl(mean: Tensor, log_variance: Tensor, mask: Tensor) -> LossSum:
    """Divergence of diagonal Gaussians from the standard normal, nats, summed over latents.

    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.

    Args:
        mean, log_variance: float (B, N, L).
        mask: bool (B, N), True = this latent counts.
    """
    each = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum(dim=-1)
    return LossSum((each * mask).sum(), int(mask.sum()))


def sync_loss(audio: Tensor, motion: Tensor, window_mask: Tensor) -> LossSum:
    """1 - cosine of audio and motion of the same windows, in [0, 2]; lower is better synchrony.

    Args:
        audio, motion: unit vectors (B, N, E) of a frozen sync expert.
        window_mask: bool (B, N).
    """
    distance = 1.0 - (audio * motion).sum(dim=-1)
    return LossSum((distance * window_mask).sum(), int(window_mask.sum()))


def lip_reading_loss(
    student_features: Tensor, teacher_features: Tensor, valid_mask: Tensor
) -> LossSum:
    """1 - cosine of what a lip reader sees in a drawn and in a real mouth, in [0, 2].

    Half the squared distance of the normalised features, summed over frames; a frame without
    features (zeros) counts 1.

    Args:
        student_features, teacher_features: float (B, T, D) of one frozen lip reader.
        valid_mask: bool (B, T), True = both mouths are there.
    """
    distance = 1.0 - functional.cosine_similarity(student_features, teacher_features, dim=-1)
    return LossSum((distance * valid_mask).sum(), int(valid_mask.sum()))


def shifted_negatives(num_windows: int, min_shift: int, device: torch.device) -> Tensor:
    """(N, N) True where window j is a negative for window i: |i - j| >= min_shift frames.

    Windows nearer than that, other than i itself, are neither: they nearly belong.
    """
    index = torch.arange(num_windows, device=device)
    return (index[None, :] - index[:, None]).abs() >= min_shift


def _info_nce(
    anchor: Tensor,
    other: Tensor,
    window_mask: Tensor,
    bank: Tensor,
    scale: Tensor,
    min_shift: int,
) -> Tensor:
    """Cross entropy (B, N) of each anchor's own partner among in-clip and bank negatives."""
    batch, windows, _ = anchor.shape
    near = scale * anchor @ other.transpose(1, 2)  # (B, N, N)
    positive = near.diagonal(dim1=1, dim2=2)
    allowed = shifted_negatives(windows, min_shift, anchor.device)[None] & window_mask[:, None, :]
    clip = torch.arange(batch, device=anchor.device)
    chosen = other[clip[:, None], bank]  # (B, K, E): windows of every clip, for all the others
    chosen_real = window_mask[clip[:, None], bank]
    far = scale * torch.einsum("bne,cke->bnck", anchor, chosen)
    foreign = (clip[:, None] != clip[None, :])[:, None, :, None] & chosen_real[None, None]
    logits = torch.cat(
        [
            positive[..., None],
            near.masked_fill(~allowed, float("-inf")),
            far.masked_fill(~foreign, float("-inf")).flatten(2),
        ],
        dim=-1,
    )
    return torch.logsumexp(logits, dim=-1) - positive


def contrastive_sync_loss(
    audio: Tensor,
    motion: Tensor,
    window_mask: Tensor,
    scale: Tensor,
    *,
    min_shift: int = 2,
    bank_size: int = 4,
    generator: torch.Generator | None = None,
) -> LossSum:
    """InfoNCE in both directions, with shifted windows of the clip and windows of other clips.

    For each window: its own partner against (1) the windows of the same clip that are shifted by
    at least `min_shift` frames and (2) `bank_size` random windows of each other clip.

    Args:
        audio, motion: unit vectors (B, N, E).
        window_mask: bool (B, N), True = the window may be an anchor and a negative.
        scale: scalar, 1 / temperature.
        min_shift: smallest shift of an in-clip negative, frames, >= 1.
        bank_size: windows drawn from each clip as negatives for the others.
        generator: source of the draw.

    Source: van den Oord et al. 2018 (InfoNCE); in-clip shifts after Chung and Zisserman 2016.
    """
    if min_shift < 1:
        raise ValueError(f"min_shift is {min_shift}; a window is no negative of itself, give >= 1")
    batch, windows, _ = audio.shape
    bank = torch.randint(windows, (batch, bank_size), generator=generator).to(audio.device)
    by_motion = _info_nce(motion, audio, window_mask, bank, scale, min_shift)
    by_audio = _info_nce(audio, motion, window_mask, bank, scale, min_shift)
    both = 0.5 * (by_motion + by_audio)
    return LossSum((both * window_mask).sum(), int(window_mask.sum()))


def calibrated_sync_loss(
    audio: Tensor,
    motion: Tensor,
    window_mask: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    min_shift: int = 2,
) -> LossSum:
    """Logistic loss of "these belong together" with one threshold for all windows.

    InfoNCE ranks candidates of one window only; this term makes values of different windows
    comparable, which a metric pooled over windows needs. For each window: its partner (weight
    1/2) against its in-clip shifted windows (together 1/2).

    Args: as `contrastive_sync_loss`; bias: scalar added to the scaled cosine.

    Source: Zhai et al. 2023 (sigmoid loss for image-text pre-training).
    """
    logits = scale * audio @ motion.transpose(1, 2) + bias
    allowed = shifted_negatives(audio.shape[1], min_shift, audio.device)[None]
    allowed = (allowed & window_mask[:, None, :]).to(logits.dtype)
    positive = functional.softplus(-logits.diagonal(dim1=1, dim2=2))
    negative = (functional.softplus(logits) * allowed).sum(-1) / allowed.sum(-1).clamp_min(1.0)
    both = 0.5 * (positive + negative)
    return LossSum((both * window_mask).sum(), int(window_mask.sum()))


def margin_sync_loss(
    audio: Tensor,
    motion: Tensor,
    window_mask: Tensor,
    *,
    margin: float,
    min_shift: int = 2,
    bank_size: int = 4,
    generator: torch.Generator | None = None,
) -> LossSum:
    """Contrastive loss with a margin: own partners come near, others stay at least so far away.

    For each window, with Euclidean distances d of unit vectors (in [0, 2]):
    d(own)^2 / 2 + mean over negatives of max(0, margin - d)^2 / 2. Negatives are the windows of the
    same clip that are shifted by `min_shift` frames or more, and `bank_size` windows of each other
    clip; motion windows look for audio and audio windows for motion.

    Args:
        audio, motion: unit vectors (B, N, E).
        window_mask: bool (B, N), True = the window may be an anchor and a negative.
        margin: distance beyond which a negative costs nothing, in (0, 2].
        min_shift: smallest shift of an in-clip negative, frames, >= 1.
        bank_size: windows drawn from each clip as negatives for the others.
        generator: source of the draw.

    Source: Hadsell, Chopra and LeCun 2006 (contrastive loss), as in SyncNet (Chung and Zisserman
    2016) and in Learn2Talk's SyncNet3D; the paper does not state its margin.
    """
    if not 0 < margin <= 2:
        raise ValueError(f"margin is {margin}; distances of unit vectors need one in (0, 2]")
    if min_shift < 1:
        raise ValueError(f"min_shift is {min_shift}; a window is no negative of itself, give >= 1")
    batch, windows, _ = audio.shape
    bank = torch.randint(windows, (batch, bank_size), generator=generator).to(audio.device)
    both = 0.5 * (
        _margin_terms(motion, audio, window_mask, bank, margin, min_shift)
        + _margin_terms(audio, motion, window_mask, bank, margin, min_shift)
    )
    return LossSum((both * window_mask).sum(), int(window_mask.sum()))


def _margin_terms(
    anchor: Tensor, other: Tensor, window_mask: Tensor, bank: Tensor, margin: float, min_shift: int
) -> Tensor:
    """(B, N) each anchor's half square distance to its partner and its negatives' shortfall."""
    batch, windows, _ = anchor.shape
    near = _distance(anchor @ other.transpose(1, 2))  # (B, N, N)
    allowed = shifted_negatives(windows, min_shift, anchor.device)[None] & window_mask[:, None, :]
    clip = torch.arange(batch, device=anchor.device)
    chosen = other[clip[:, None], bank]  # (B, K, E)
    far = _distance(torch.einsum("bne,cke->bnck", anchor, chosen)).flatten(2)
    foreign = (clip[:, None] != clip[None, :])[:, None, :, None]
    foreign = (foreign & window_mask[clip[:, None], bank][None, None]).flatten(2)
    short = torch.cat([near, far], dim=2).sub(margin).clamp_max(0.0).square()
    counts = torch.cat([allowed.expand_as(near), foreign.expand_as(far)], dim=2)
    negative = (short * counts).sum(-1) / counts.sum(-1).clamp_min(1)
    return 0.5 * (near.diagonal(dim1=1, dim2=2).square() + negative)


def _distance(cosine: Tensor) -> Tensor:
    """Euclidean distance of unit vectors from their cosine; its gradient stays finite at 0."""
    return (2.0 - 2.0 * cosine).clamp_min(1e-8).sqrt()
