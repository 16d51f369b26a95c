"""The student: speech to lower-face motion, all frames at once, with a bounded look-ahead.

Learn2Talk's Audio2Mesh takes FaceFormer's autoregressive decoder; this one is parallel, as in
SelfTalk and UniTalker, so that a frame costs no waiting for the one before it. The autoregressive
one, to compare with, is in learn2talk.models.autoregressive.

Axis letters: B batch, T video frames, F mel bands, D width, R animated vertices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avsr.units import FEATURES_PER_FRAME
from learn2talk.models.layers import StreamingLayer, banded_layers
from learn2talk.models.speech import (
    ENCODER_MARGIN_FRAMES,
    MEL_LOOK_AHEAD,
    SUBSAMPLER_FRAMES,
    SUBSAMPLER_KERNEL,
    Subsampler,
    check_input,
    num_video_frames_of,
    pretrained_encoder,
    windows,
)
from learn2talk.models.styles import Style, StyleEncoder, style_vector

BLOCK_FRAMES = 100  # that go through the layers together where a sound is long


@dataclass(frozen=True)
class StudentConfig:
    """Shape of a student."""

    num_mels: int | None = 80
    """Mel bands of the audio features; None: the samples, for a speech_encoder."""
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
    num_styles: int = 0
    """Known speakers, each with a style; 0: no styles. Their names are in `student.json`."""
    speech_encoder: str | None = None
    """A pretrained encoder in place of log-mel features: a SpeechEncoderConfig as JSON. It hears
    the whole utterance, so that the look-ahead bounds the layers alone and nothing streams."""

    def __post_init__(self) -> None:
        check_input(self.num_mels, self.speech_encoder)
        if self.look_ahead_frames < MEL_LOOK_AHEAD:
            raise ValueError(
                f"look_ahead_frames is {self.look_ahead_frames}; the log-mel window alone needs "
                f"{MEL_LOOK_AHEAD}"
            )
        if min(self.look_back_frames, self.num_styles) < 0 or self.layers < 1:
            raise ValueError(f"student sizes must be positive: {self}")
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")


class Student(nn.Module):
    """Speech to the displacement of the animated vertices from the talker's template.

    With log-mel features, frame t depends on no sample at or after
    640 (t + 1 + look_ahead_frames).

    Args:
        config: shape of the network.
        num_vertices: number of animated vertices R.
    """

    def __init__(self, config: StudentConfig, num_vertices: int) -> None:
        super().__init__()
        self.config, self.num_vertices = config, num_vertices
        width = config.width
        if config.num_mels is None:
            assert config.speech_encoder is not None
            self.speech = pretrained_encoder(config.speech_encoder, width)
        else:
            self.mel_mean: Tensor
            self.mel_std: Tensor
            self.register_buffer("mel_mean", torch.zeros(config.num_mels))
            self.register_buffer("mel_std", torch.ones(config.num_mels))
            self.smooth = nn.Conv1d(config.num_mels, width, SUBSAMPLER_KERNEL)
            self.reduce = nn.Conv1d(width, width, FEATURES_PER_FRAME, FEATURES_PER_FRAME)
        self.layers = banded_layers(
            config.layers,
            width,
            config.heads,
            config.feedforward,
            config.dropout,
            look_back=config.look_back_frames,
            look_ahead=config.look_ahead_frames - MEL_LOOK_AHEAD,
        )
        self.norm = nn.LayerNorm(width)
        self.vertices = nn.Linear(width, 3 * num_vertices)
        self.styles = StyleEncoder(config.num_styles, width) if config.num_styles else None

    @property
    def subsampler(self) -> Subsampler:
        """Log-mel features to video frames; only where there is no pretrained encoder."""
        return Subsampler(self.mel_mean, self.mel_std, self.smooth, self.reduce)

    def forward(
        self, features: Tensor, valid_mask: Tensor | None = None, style: Style | None = None
    ) -> Tensor:
        """Displacement of the animated vertices, all frames at once.

        Args:
            features: float (B, 4 T, F), natural-log mel, 4 frames a video frame; where the
                configuration has a speech encoder the samples, (B, 4 T, 160) in [-1, 1].
            valid_mask: bool (B, T), True = real frame; None: all are real. Padding is at the end.
            style: who moves; None is the average speaker, and no style where there are none.

        Returns:
            float (B, T, R, 3), mm; zero in padding. An utterance in a padded batch gives what it
            gives alone, up to float rounding.
        """
        encoded, valid_mask = self.encode(features, valid_mask, style)
        out = self.vertices(encoded) * valid_mask[..., None]
        return out.view(*valid_mask.shape, self.num_vertices, 3)

    def encode(
        self, features: Tensor, valid_mask: Tensor | None = None, style: Style | None = None
    ) -> tuple[Tensor, Tensor]:
        """What was said at each frame, (B, T, D), and its valid mask; arguments as in `forward`."""
        shape = (len(features), num_video_frames_of(features, self.config.num_mels))
        if valid_mask is None:
            valid_mask = torch.ones(shape, dtype=torch.bool, device=features.device)
        frames = self._encoded(features, valid_mask)
        vector = style_vector(self.styles, style, len(features))
        if vector is not None:
            frames = frames + vector
        for layer in self.layers:
            frames = layer(frames, valid_mask)
        encoded: Tensor = self.norm(frames)
        return encoded, valid_mask

    def _encoded(self, features: Tensor, valid_mask: Tensor) -> Tensor:
        """What the layers get of the sound, (B, T, D)."""
        if self.config.num_mels is None:
            encoded: Tensor = self.speech(features, valid_mask)
            return encoded
        return self.subsampler(features)

    def _moved(self, frames: Tensor) -> Tensor:
        """Displacement (B, T, R, 3), mm, of what the layers give, (B, T, D)."""
        moved: Tensor = self.vertices(self.norm(frames))
        return moved.unflatten(2, (self.num_vertices, 3))

    def forward_windows(
        self, features: Tensor, window_frames: int = 400, style: Style | None = None
    ) -> Iterator[Tensor]:
        """The same motion in pieces, in time that grows with the length and memory that does not.

        A sound of one piece is `forward`. A longer one goes through the layers block by block, each
        keeping what it looks back to, so that with log-mel features the pieces together equal
        `forward` up to float rounding: there is nothing to blend. A pretrained encoder hears
        everything at once; here it hears each piece with 2 s more on both sides, which is near it.

        Args:
            features: float (4 T, F) of one utterance, or its samples (4 T, 160).
            window_frames: video frames of sound that are encoded at once.
            style: as in `forward`.

        Yields:
            float (N, R, 3), mm: N frames as they come, at most window_frames and the look-ahead.
        """
        num_frames = len(features) // FEATURES_PER_FRAME
        if num_frames <= window_frames:
            yield self(features[None], style=style)[0]
            return
        vector = style_vector(self.styles, style, 1)
        layers = [StreamingLayer(layer) for layer in self.layers]  # type: ignore[arg-type]
        margins = (ENCODER_MARGIN_FRAMES,) * 2
        if self.config.num_mels is not None:
            margins = SUBSAMPLER_FRAMES, 0
        for start, stop, first, last in windows(num_frames, window_frames, *margins):
            piece = features[None, FEATURES_PER_FRAME * first : FEATURES_PER_FRAME * last]
            heard = torch.ones(1, last - first, dtype=torch.bool, device=features.device)
            encoded = self._encoded(piece, heard)[:, start - first : stop - first]
            if vector is not None:
                encoded = encoded + vector
            blocks = list(encoded.split(BLOCK_FRAMES, dim=1))
            done = []
            for number, frames in enumerate(blocks):
                ends = stop == num_frames and number == len(blocks) - 1
                for layer in layers:
                    frames = layer.step(frames, last=ends)
                done.append(frames)
            yield self._moved(torch.cat(done, dim=1))[0]
