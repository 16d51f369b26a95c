"""The student: speech to lower-face motion, all frames at once, with a bounded look-ahead.

Learn2Talk's Audio2Mesh takes FaceFormer's autoregressive decoder; this one is parallel, as in
SelfTalk and UniTalker, so that a frame costs no waiting for the one before it.

Axis letters: B batch, T video frames, F mel bands, D width, R animated vertices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsr.units import FEATURES_PER_FRAME
from learn2talk.models.layers import BandedTransformerLayer, split_budget

SUBSAMPLER_KERNEL = 5  # log-mel frames; causal, so it reaches 4 of them into the frame before
SUBSAMPLER_FRAMES = 1  # the same reach in whole video frames
MEL_LOOK_AHEAD = 1  # a log-mel window ends 120 samples inside the next video frame


@dataclass(frozen=True)
class StudentConfig:
    """Shape of a student."""

    num_mels: int = 80
    """Mel bands of the audio features."""
    width: int = 128
    """Width D of the transformer."""
    layers: int = 4
    """Transformer layers."""
    heads: int = 4
    """Attention heads; they divide the width."""
    feedforward: int = 384
    """Hidden width of a layer's feedforward part."""
    dropout: float = 0.1
    """Share of activations dropped in training."""
    look_back_frames: int = 60
    """Past video frames that can influence a frame, all layers together."""
    look_ahead_frames: int = 10
    """Future video frames of sound that can influence a frame, all layers together; at least 1."""

    def __post_init__(self) -> None:
        if self.look_ahead_frames < MEL_LOOK_AHEAD:
            raise ValueError(
                f"look_ahead_frames is {self.look_ahead_frames}; the log-mel window alone needs "
                f"{MEL_LOOK_AHEAD}"
            )
        if self.look_back_frames < 0 or min(self.num_mels, self.layers) < 1:
            raise ValueError(f"student sizes must be positive: {self}")
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")


class Student(nn.Module):
    """Log-mel features to the displacement of the animated vertices from the talker's template.

    Frame t depends on no sample at or after 640 (t + 1 + look_ahead_frames).

    Args:
        config: shape of the network.
        num_vertices: number of animated vertices R.
    """

    def __init__(self, config: StudentConfig, num_vertices: int) -> None:
        super().__init__()
        self.config, self.num_vertices = config, num_vertices
        width = config.width
        self.mel_mean: Tensor
        self.mel_std: Tensor
        self.register_buffer("mel_mean", torch.zeros(config.num_mels))
        self.register_buffer("mel_std", torch.ones(config.num_mels))
        self.smooth = nn.Conv1d(config.num_mels, width, SUBSAMPLER_KERNEL)
        self.reduce = nn.Conv1d(width, width, FEATURES_PER_FRAME, FEATURES_PER_FRAME)
        self.layers = nn.ModuleList(
            BandedTransformerLayer(
                width, config.heads, config.feedforward, config.dropout, back, ahead
            )
            for back, ahead in zip(
                split_budget(config.look_back_frames, config.layers),
                split_budget(config.look_ahead_frames - MEL_LOOK_AHEAD, config.layers),
                strict=True,
            )
        )
        self.norm = nn.LayerNorm(width)
        self.vertices = nn.Linear(width, 3 * num_vertices)

    def forward(self, features: Tensor, valid_mask: Tensor | None = None) -> Tensor:
        """Displacement of the animated vertices, all frames at once.

        Args:
            features: float (B, 4 T, F), natural-log mel, 4 frames a video frame.
            valid_mask: bool (B, T), True = real frame; None: all are real. Padding is at the end.

        Returns:
            float (B, T, R, 3), mm; zero in padding. An utterance in a padded batch gives what it
            gives alone, up to float rounding.
        """
        encoded, valid_mask = self.encode(features, valid_mask)
        out = self.vertices(encoded) * valid_mask[..., None]
        return out.view(*valid_mask.shape, self.num_vertices, 3)

    def encode(self, features: Tensor, valid_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What was said at each frame, (B, T, D), and its valid mask; arguments as in `forward`."""
        batch, length, _ = features.shape
        if length % FEATURES_PER_FRAME:
            raise ValueError(
                f"{length} log-mel frames are not whole video frames of {FEATURES_PER_FRAME}"
            )
        if valid_mask is None:
            shape = (batch, length // FEATURES_PER_FRAME)
            valid_mask = torch.ones(shape, dtype=torch.bool, device=features.device)
        normal = ((features - self.mel_mean) / self.mel_std).transpose(1, 2)
        smooth = functional.gelu(self.smooth(functional.pad(normal, (SUBSAMPLER_KERNEL - 1, 0))))
        frames = functional.gelu(self.reduce(smooth)).transpose(1, 2)
        for layer in self.layers:
            frames = layer(frames, valid_mask)
        encoded: Tensor = self.norm(frames)
        return encoded, valid_mask

    def forward_windows(self, features: Tensor, window_frames: int = 400) -> Iterator[Tensor]:
        """The same motion in pieces, with memory that does not grow with the length.

        Each piece is computed with all the sound that can influence it, so that the pieces
        together equal `forward` up to float rounding: there is nothing to blend.

        Args:
            features: float (4 T, F) of one utterance.
            window_frames: video frames in a piece.

        Yields:
            float (at most window_frames, R, 3), mm.
        """
        num_frames = features.shape[0] // FEATURES_PER_FRAME
        before = self.config.look_back_frames + SUBSAMPLER_FRAMES
        after = self.config.look_ahead_frames
        for start in range(0, num_frames, window_frames):
            stop = min(start + window_frames, num_frames)
            first, last = max(0, start - before), min(num_frames, stop + after)
            piece = features[FEATURES_PER_FRAME * first : FEATURES_PER_FRAME * last]
            yield self(piece[None])[0, start - first : stop - first]
