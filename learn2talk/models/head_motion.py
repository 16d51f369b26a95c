"""PoseVAE: how a head turns and moves while it says something.

A conditional variational autoencoder (Kingma and Welling, 2014; Sohn, Lee and Yan, 2015), the idea
of SadTalker's PoseVAE (Zhang et al., 2023): sound, the pose at the start and a latent give the
pose. SadTalker makes 32 frames from one latent. Here a latent comes every `latent_frames`, those
between are interpolated, and a decoder with a bounded view back and ahead makes every frame: a
motion of any length has no seams, and pieces of it are the whole, computed one after the other.

A pose is 6 numbers as in `avsr.video.head_poses`: rotation vector in radians, translation in
millimetres about the clip's mean place. The last one, the distance from the camera, is never
predicted: a film does not show it, and it is 0 in the data.

Axis letters: B batch, T video frames, F mel bands, D width, N latents in time, L latent width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsr.units import FEATURES_PER_FRAME
from learn2talk.models.layers import StreamingLayer, banded_layers
from learn2talk.models.speech import (
    MEL_LOOK_AHEAD,
    SUBSAMPLER_FRAMES,
    SUBSAMPLER_KERNEL,
    Subsampler,
    num_video_frames_of,
    windows,
)

POSE_NUMBERS = 6
PREDICTED = 5  # the last translation is 0 in the data
LOG_VARIANCE = (-10.0, 5.0)  # of the posterior: beyond them only rounding grows


@dataclass(frozen=True)
class HeadMotionConfig:
    """Shape of a PoseVAE."""

    num_mels: int = 80
    """Mel bands of the audio features."""
    width: int = 64
    """Width D of both transformers."""
    layers: int = 3
    """Layers of the decoder, and of the encoder."""
    heads: int = 4
    """Attention heads; they divide the width."""
    feedforward: int = 192
    """Hidden width of a layer's feedforward part."""
    dropout: float = 0.1
    """Share of activations dropped in training."""
    look_back_frames: int = 60
    """Past video frames that can influence a pose, all layers together."""
    look_ahead_frames: int = 12
    """Future video frames that can influence a pose; at least 1."""
    latent: int = 8
    """Numbers in a latent, L."""
    latent_frames: int = 10
    """Video frames between two latents."""
    start_frames: int = 50
    """Video frames over which the given start pose is left."""

    def __post_init__(self) -> None:
        if self.look_ahead_frames < MEL_LOOK_AHEAD:
            raise ValueError(
                f"look_ahead_frames is {self.look_ahead_frames}; the log-mel window alone needs "
                f"{MEL_LOOK_AHEAD}"
            )
        sizes = (self.num_mels, self.layers, self.latent, self.latent_frames, self.start_frames)
        if min(sizes) < 1 or self.look_back_frames < 0:
            raise ValueError(f"sizes of a PoseVAE must be positive: {self}")
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")


class HeadMotionOutput(NamedTuple):
    """What training needs: poses made from a draw of the posterior, and the posterior."""

    pose: Tensor  # (B, T, 6) rad, mm; zero in padding
    mean: Tensor  # (B, N, L)
    log_variance: Tensor  # (B, N, L)
    latent_mask: Tensor  # (B, N) bool, True = some real frame depends on this latent


class PoseVAE(nn.Module):
    """Speech, a start pose and latents to head poses.

    Frame t depends on no sound at or after 640 (t + 1 + look_ahead_frames) samples, and on the
    latents of the frames that it sees.
    """

    def __init__(self, config: HeadMotionConfig) -> None:
        super().__init__()
        self.config = config
        width, shape = config.width, (config.heads, config.feedforward, config.dropout)
        self.mel_mean: Tensor
        self.mel_std: Tensor
        self.pose_spread: Tensor
        self.register_buffer("mel_mean", torch.zeros(config.num_mels))
        self.register_buffer("mel_std", torch.ones(config.num_mels))
        self.register_buffer("pose_spread", torch.ones(PREDICTED))
        self.smooth = nn.Conv1d(config.num_mels, width, SUBSAMPLER_KERNEL)
        self.reduce = nn.Conv1d(width, width, FEATURES_PER_FRAME, FEATURES_PER_FRAME)
        self.from_pose = nn.Linear(PREDICTED + 1, width)
        reach = 3 * config.latent_frames
        self.encoder = banded_layers(
            config.layers, width, *shape, look_back=reach, look_ahead=reach
        )
        self.posterior = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * config.latent))
        self.from_latent = nn.Linear(config.latent, width)
        self.from_start = nn.Linear(PREDICTED, width)
        self.decoder = banded_layers(
            config.layers,
            width,
            *shape,
            look_back=config.look_back_frames,
            look_ahead=config.look_ahead_frames - MEL_LOOK_AHEAD,
        )
        self.to_pose = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, PREDICTED))

    @property
    def subsampler(self) -> Subsampler:
        """Log-mel features to video frames."""
        return Subsampler(self.mel_mean, self.mel_std, self.smooth, self.reduce)

    def num_latents(self, num_frames: int) -> int:
        """N of a sequence: frame t lies between latents t // latent_frames and the next one."""
        return (num_frames - 1) // self.config.latent_frames + 2

    def forward(
        self,
        features: Tensor,
        pose: Tensor,
        valid_mask: Tensor,
        tracked_mask: Tensor,
        noise: Tensor,
    ) -> HeadMotionOutput:
        """Reconstruct poses from what the encoder says of them.

        Args:
            features: float (B, 4 T, F), natural-log mel.
            pose: float (B, T, 6), rad and mm; the first frame, which is the start pose, is tracked.
            valid_mask: bool (B, T), True = inside the clip; padding is at the end.
            tracked_mask: bool (B, T), True = `pose` is a measurement; others are not looked at.
            noise: float (B, N, L), standard normal; zeros take the posterior's mean.
        """
        heard = self._heard(features)
        mean, log_variance = self.posterior_of(heard, pose, valid_mask, tracked_mask)
        latents = mean + torch.exp(0.5 * log_variance) * noise
        made = self._decoded(heard, pose[:, 0], latents, valid_mask)
        ends = (valid_mask.sum(dim=1) - 1) // self.config.latent_frames + 1
        places = torch.arange(mean.shape[1], device=mean.device)
        return HeadMotionOutput(made, mean, log_variance, places[None] <= ends[:, None])

    def posterior_of(
        self, heard: Tensor, pose: Tensor, valid_mask: Tensor, tracked_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latents that explain poses, (B, N, L) each."""
        seen = tracked_mask[..., None].to(pose.dtype)
        normal = pose[..., :PREDICTED] / self.pose_spread
        frames = heard + self.from_pose(torch.cat([normal * seen, seen], dim=-1))
        for layer in self.encoder:
            frames = layer(frames, valid_mask)
        steps = torch.arange(self.num_latents(pose.shape[1]), device=pose.device)
        last = valid_mask.sum(dim=1, keepdim=True) - 1
        places = torch.minimum(steps[None] * self.config.latent_frames, last)
        at = frames.gather(1, places[..., None].expand(-1, -1, frames.shape[2]))
        mean, log_variance = self.posterior(at).chunk(2, dim=-1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def decode(
        self,
        features: Tensor,
        start: Tensor,
        latents: Tensor,
        valid_mask: Tensor | None = None,
    ) -> Tensor:
        """Poses of some latents, all frames at once.

        Args:
            features: float (B, 4 T, F), natural-log mel.
            start: float (B, 6), rad and mm: the pose of the first frame, exactly.
            latents: float (B, N, L), N at least `num_latents(T)`.
            valid_mask: bool (B, T), True = real; None: all are.

        Returns:
            float (B, T, 6), rad and mm; zero in padding.
        """
        if valid_mask is None:
            shape = len(features), num_video_frames_of(features, self.config.num_mels)
            valid_mask = torch.ones(shape, dtype=torch.bool, device=features.device)
        return self._decoded(self._heard(features), start, latents, valid_mask)

    def _heard(self, features: Tensor) -> Tensor:
        num_video_frames_of(features, self.config.num_mels)
        return self.subsampler(features)

    def _decoded(self, heard: Tensor, start: Tensor, latents: Tensor, valid_mask: Tensor) -> Tensor:
        frames = heard + self._wanted(start, latents, 0, heard.shape[1])
        for layer in self.decoder:
            frames = layer(frames, valid_mask)
        raw: Tensor = self.to_pose(frames)
        return self._from_start(raw, raw[:, :1], start, 0) * valid_mask[..., None]

    def _fade(self, first: int, stop: int, like: Tensor) -> Tensor:
        """Share of the start pose in frames [first, stop), (stop - first, 1): 1, later 0."""
        time = torch.arange(first, stop, device=like.device, dtype=like.dtype)
        share = (time / self.config.start_frames).clamp(max=1.0)
        return (0.5 + 0.5 * torch.cos(math.pi * share))[:, None]

    def _wanted(self, start: Tensor, latents: Tensor, first: int, stop: int) -> Tensor:
        """What the latents and the start pose say to frames [first, stop), (B, stop - first, D)."""
        every = self.config.latent_frames
        time = torch.arange(first, stop, device=latents.device)
        share = ((time % every) / every)[None, :, None]
        before, after = latents[:, time // every], latents[:, time // every + 1]
        said: Tensor = self.from_latent(torch.lerp(before, after, share.to(latents.dtype)))
        begun = self.from_start(start[:, :PREDICTED] / self.pose_spread)
        return said + self._fade(first, stop, begun) * begun[:, None]

    def _from_start(self, raw: Tensor, raw_first: Tensor, start: Tensor, first: int) -> Tensor:
        """Poses (B, T, 6) of the decoder's numbers (B, T, 5), led away from the start pose.

        What the decoder says of frame 0 is replaced by the start pose, and the difference fades
        out, so that the first frame is exact and no later one jumps.
        """
        fade = self._fade(first, first + raw.shape[1], raw)
        normal = raw + fade * (start[:, None, :PREDICTED] / self.pose_spread - raw_first)
        return functional.pad(normal * self.pose_spread, (0, POSE_NUMBERS - PREDICTED))

    def decode_pieces(
        self, features: Tensor, start: Tensor, latents: Tensor, piece_frames: int = 400
    ) -> Iterator[Tensor]:
        """The poses of `decode` in pieces, in memory that does not grow with the length.

        Every layer keeps what it looks back to, so that the pieces together equal `decode` up to
        float rounding: there is no seam.

        Args:
            features: float (4 T, F) of one sound.
            start: float (6,).
            latents: float (N, L).
            piece_frames: video frames of sound that are heard at once.

        Yields:
            float (M, 6), M frames as they come, T together.
        """
        num_frames = num_video_frames_of(features[None], self.config.num_mels)
        layers = [StreamingLayer(layer) for layer in self.decoder]  # type: ignore[arg-type]
        raw_first, done = None, 0
        for begin, stop, first, last in windows(num_frames, piece_frames, SUBSAMPLER_FRAMES, 0):
            piece = features[None, FEATURES_PER_FRAME * first : FEATURES_PER_FRAME * last]
            frames = self._heard(piece)[:, begin - first :]
            frames = frames + self._wanted(start[None], latents[None], begin, stop)
            for layer in layers:
                frames = layer.step(frames, last=stop == num_frames)
            if not frames.shape[1]:
                continue
            raw = self.to_pose(frames)
            raw_first = raw[:, :1] if raw_first is None else raw_first
            yield self._from_start(raw, raw_first, start[None], done)[0]
            done += raw.shape[1]

    @torch.no_grad()
    def sample(
        self, features: Tensor, start: Tensor, generator: torch.Generator, piece_frames: int = 400
    ) -> Tensor:
        """A motion of the head from the prior: other draws of the generator, another motion.

        Args:
            features: float (4 T, F), natural-log mel of one sound, T at least 1.
            start: float (6,), rad and mm, pose of the first frame.
            generator: of the latents, on the CPU.
            piece_frames: see `decode_pieces`.

        Returns:
            float (T, 6), rad and mm.

        Raises:
            ValueError: the features are not whole frames, or there is none.
        """
        num_frames = num_video_frames_of(features[None], self.config.num_mels)
        if num_frames < 1:
            raise ValueError("features have 0 frames; give at least one video frame of sound")
        shape = (self.num_latents(num_frames), self.config.latent)
        latents = torch.randn(*shape, generator=generator).to(features.device)
        return torch.cat(list(self.decode_pieces(features, start, latents, piece_frames)))
