"""The stream encoders, fed piece by piece: what they need of earlier frames is kept.

Each gives exactly the frames that its encoder gives for the whole utterance, as soon as the frames
that they look ahead to are there: none for sound, two (80 ms) for crops and lips.
"""

# One utterance: K = 4 T feature rows, T frames, F mel bands, H W image, P lip points, D width

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from avsr.models.audio_encoder import LOG_MEL_MEAN, LOG_MEL_SCALE, AudioEncoder
from avsr.models.layers import masked
from avsr.models.motion_encoder import LOOK_KERNEL, MotionEncoder
from avsr.models.video_encoder import STEM_FRAMES, VideoEncoder
from avsr.units import FEATURES_PER_FRAME

Frames = tuple[Tensor, Tensor]  # (1, N, D) and their presence (1, N) bool


class AudioStem:
    """Log-mel rows to frames; the convolutions look back one row each, and never ahead."""

    look_ahead = 0

    def __init__(self, encoder: AudioEncoder) -> None:
        self.encoder = encoder
        weight = encoder.out.weight
        channels, bands = encoder.first.out_channels, 2 * encoder.out.in_features
        self.num_mels = 2 * bands // channels
        self.rest = weight.new_zeros(0, self.num_mels)
        self.row_before = weight.new_zeros(1, 1, self.num_mels)
        self.between = weight.new_zeros(1, channels, 1, self.num_mels // 2)

    def push(self, features: Tensor, present: Tensor | None) -> Frames:
        """Frames of log-mel (K, F), any K; ``present`` (K / 4,) bool needs whole frames.

        Raises:
            ValueError: another number of mel bands, or a presence that does not fit.
        """
        if features.ndim != 2 or features.shape[1] != self.num_mels:
            raise ValueError(
                f"log-mel rows must be (K, {self.num_mels}), got shape {tuple(features.shape)}"
            )
        rows = torch.cat([self.rest, features.float()])
        count = len(rows) // FEATURES_PER_FRAME
        if present is None:
            present = torch.ones(count, dtype=torch.bool, device=rows.device)
        elif len(self.rest) or len(present) * FEATURES_PER_FRAME != len(features):
            raise ValueError(
                f"presence of {len(present)} frames for {len(features)} log-mel rows, "
                f"{len(self.rest)} before them; with it, push {FEATURES_PER_FRAME} rows a frame"
            )
        self.rest = rows[count * FEATURES_PER_FRAME :]
        valid = present[None]
        if count == 0:
            return rows.new_zeros(1, 0, self.encoder.out.out_features), valid
        x = (rows[None, : count * FEATURES_PER_FRAME] - LOG_MEL_MEAN) / LOG_MEL_SCALE
        x = torch.cat([self.row_before, masked(x, valid.repeat_interleave(4, dim=1))], dim=1)
        self.row_before = x[:, -1:]
        first, second = self.encoder.first, self.encoder.second
        y = F.silu(F.conv2d(x[:, None], first.weight, first.bias, 2, (0, 1))).transpose(1, 2)
        y = masked(y, valid.repeat_interleave(2, dim=1)).transpose(1, 2)
        y = torch.cat([self.between, y], dim=2)
        self.between = y[:, :, -1:]
        z = F.silu(F.conv2d(y, second.weight, second.bias, 2, (0, 1))).transpose(1, 2).flatten(2)
        return masked(self.encoder.norm(self.encoder.out(z)), valid), valid

    def finish(self) -> Frames:
        """Nothing more; the rows must have filled whole frames.

        Raises:
            ValueError: they have not.
        """
        if len(self.rest):
            raise ValueError(
                f"the log-mel rows end {len(self.rest)} rows into a frame of {FEATURES_PER_FRAME}; "
                "fill the sound with zeros to whole video frames"
            )
        return self.push(self.rest, None)


class VideoStem:
    """Mouth crops to frames; each waits for the two frames after it."""

    look_ahead = STEM_FRAMES // 2

    def __init__(self, encoder: VideoEncoder) -> None:
        self.encoder = encoder
        self.waiting: Tensor | None = None  # scaled frames (1, N, H / 2, W / 2)
        self.present = torch.zeros(1, 0, dtype=torch.bool, device=encoder.out.weight.device)

    def push(self, crops: Tensor, present: Tensor | None) -> Frames:
        """Frames of crops (N, H, W) uint8, or float in [0, 1], any N; ``present`` (N,) bool."""
        valid = _presence(crops, present)
        scaled = self.encoder.scaled(crops[None], valid)
        if self.waiting is None:
            self.waiting = scaled.new_zeros(1, self.look_ahead, *scaled.shape[2:])
        self.present = torch.cat([self.present, valid], dim=1)
        return self._encode(torch.cat([self.waiting, scaled], dim=1))

    def finish(self) -> Frames:
        """The last two frames."""
        if self.waiting is None:
            return self.present.new_zeros(1, 0, self.encoder.out.out_features).float(), self.present
        end = self.waiting.new_zeros(1, self.look_ahead, *self.waiting.shape[2:])
        return self._encode(torch.cat([self.waiting, end], dim=1))

    def _encode(self, scaled: Tensor) -> Frames:
        count = max(0, scaled.shape[1] - STEM_FRAMES + 1)
        valid, self.present = self.present[:, :count], self.present[:, count:]
        self.waiting = scaled[:, count:]
        if not valid.any():  # the convolutions take no empty batch
            return scaled.new_zeros(1, count, self.encoder.out.out_features), valid
        return self.encoder.encode_windows(scaled[:, : count + STEM_FRAMES - 1], valid), valid


class MotionStem:
    """Lip points to frames; each waits for the two frames after it."""

    look_ahead = LOOK_KERNEL // 2

    def __init__(self, encoder: MotionEncoder) -> None:
        self.encoder = encoder
        weight = encoder.points.weight
        width = weight.shape[0]
        size = weight.shape[1] // 2  # 3 P
        self.total = weight.new_zeros(1, 1, size, dtype=torch.float64)
        self.count = torch.zeros(1, 1, dtype=torch.int64, device=weight.device)
        self.last = weight.new_zeros(1, 1, size)
        self.last_valid = torch.zeros(1, 1, dtype=torch.bool, device=weight.device)
        self.present = self.last_valid[:, :0]
        self.first_input = weight.new_zeros(1, width, self.look_ahead)
        self.second_input = weight.new_zeros(1, width, LOOK_KERNEL - 1)

    def push(self, lips: Tensor, present: Tensor | None) -> Frames:
        """Frames of points (N, P, 3) in millimetres, any N; ``present`` (N,) bool."""
        valid = _presence(lips, present)
        flat = masked(lips[None].float().flatten(2), valid)
        totals = self.total + flat.double().cumsum(1)
        counts = self.count + valid.cumsum(1)
        points = torch.cat([self.last, flat], dim=1)
        flags = torch.cat([self.last_valid, valid], dim=1)
        steps = masked(points[:, 1:] - points[:, :-1], flags[:, 1:] & flags[:, :-1])
        self.last, self.last_valid = points[:, -1:], flags[:, -1:]
        if len(lips):
            self.total, self.count = totals[:, -1:], counts[:, -1:]
        x = self.encoder.described(flat, totals, counts, steps, valid).transpose(1, 2)
        self.present = torch.cat([self.present, valid], dim=1)
        return self._encode(torch.cat([self.first_input, x], dim=2))

    def finish(self) -> Frames:
        """The last two frames."""
        if not self.present.shape[1]:  # nothing was pushed
            return self.last.new_zeros(1, 0, self.encoder.norm.weight.shape[0]), self.present
        end = self.first_input.new_zeros(1, self.first_input.shape[1], self.look_ahead)
        return self._encode(torch.cat([self.first_input, end], dim=2))

    def _encode(self, x: Tensor) -> Frames:
        count = max(0, x.shape[2] - LOOK_KERNEL + 1)
        valid, self.present = self.present[:, :count], self.present[:, count:]
        self.first_input = x[:, :, count:]
        if count == 0:
            return x.new_zeros(1, 0, x.shape[1]), valid
        first = self.encoder.first
        y = F.conv1d(x[:, :, : count + LOOK_KERNEL - 1], first.weight, first.bias)
        y = torch.cat([self.second_input, F.silu(y) * valid[:, None]], dim=2)
        self.second_input = y[:, :, count:]
        return self.encoder.looked_back(y, valid), valid


def _presence(values: Tensor, present: Tensor | None) -> Tensor:
    """bool (1, N) of N frames; ``None`` is all there.

    Raises:
        ValueError: another number of presences than of frames.
    """
    if present is None:
        return torch.ones(1, len(values), dtype=torch.bool, device=values.device)
    if len(present) != len(values):
        raise ValueError(f"presence of {len(present)} frames for {len(values)} frames")
    return present[None].to(torch.bool)
