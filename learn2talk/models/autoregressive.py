"""The autoregressive baseline: FaceFormer (Fan et al., CVPR 2022, arXiv 2112.05329, section 3).

Written from the paper's equations; where its text leaves a number open, it is the published one.

    f_t   = s_n                       for t = 0, else  W y_(t-1) + b + s_n      motion encoder
    f_t  += PPE(t),  PPE(t, 2i) = sin((t mod p) / 10000^(2i/D)), PPE(t, 2i+1) = cos(the same)
    self-attention   softmax(q k / sqrt(d) + m_h B(t, j)),  B(t, j) = -floor((t - j) / p), j <= t
    cross-attention  of frame t over the k audio vectors of frame t alone (alignment bias)
    y_t   = V h_t + c                 displacement from the template; V and c start at zero

with s_n the style, p the period, m_h ALiBi's slopes 2^(-8 h / H), h = 1 .. H. Layers are post-norm
with ReLU. Training is the same roll-out with gradients through all of it, and the squared error.

What differs: nothing stops at 600 frames, since period and biases are computed for the frame at
hand; keys and values of the past are kept, where the published code computes them again for each
frame (in training their dropout is drawn once, not once more for each later frame). A pretrained
encoder is frozen unless its configuration says otherwise; where it is trained, its convolutions
stay frozen, as in the paper. The log-mel encoder is the student's own, with one vector a frame.

Axis letters: B batch, T video frames, K audio vectors of a frame, D width, H heads, R vertices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from avsr.models.speech_encoder import VECTORS_PER_FRAME, SpeechEncoder
from avsr.units import FEATURES_PER_FRAME, VIDEO_FPS
from learn2talk.models.layers import banded_layers
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

KeysValues = tuple[Tensor, Tensor]  # (B, H, t, d) each


@dataclass(frozen=True)
class AutoregressiveConfig:
    """Shape of an autoregressive student; the decoder's defaults are the paper's larger ones."""

    num_mels: int | None = 80
    """Mel bands of the audio features; None: the samples, for a speech_encoder."""
    speech_encoder: str | None = None
    """A pretrained encoder in place of the log-mel one: a SpeechEncoderConfig as JSON."""
    width: int = 128
    """Width D of encoder and decoder."""
    layers: int = 1
    """Decoder layers."""
    heads: int = 4
    """Attention heads, a power of two: the slopes of the bias are made for these."""
    feedforward: int = 256
    """Hidden width of a decoder layer's feedforward part."""
    dropout: float = 0.1
    """Share of activations dropped in training."""
    period_frames: int = VIDEO_FPS
    """Period p of positions and bias: one second, as in the paper."""
    num_styles: int = 0
    """Known speakers, each with a style; 0: no styles."""
    encoder_layers: int = 4
    """Banded layers of the log-mel encoder; this and the next three as in StudentConfig."""
    encoder_feedforward: int = 384
    """Hidden width of a banded layer's feedforward part."""
    look_back_frames: int = 60
    """Past video frames of sound that can influence an audio vector."""
    look_ahead_frames: int = 10
    """Future ones; at least 1."""

    def __post_init__(self) -> None:
        check_input(self.num_mels, self.speech_encoder)
        if self.heads < 1 or self.heads & (self.heads - 1):
            raise ValueError(f"heads {self.heads} must be a power of two, for the bias's slopes")
        if self.width < 2 or self.width % 2 or self.width % self.heads:
            raise ValueError(f"width {self.width} must be even and divisible by {self.heads} heads")
        if self.look_ahead_frames < MEL_LOOK_AHEAD:
            raise ValueError(
                f"look_ahead_frames is {self.look_ahead_frames}; the log-mel window alone needs "
                f"{MEL_LOOK_AHEAD}"
            )
        sizes = self.layers, self.encoder_layers, self.period_frames, self.feedforward
        if min(sizes) < 1 or min(self.look_back_frames, self.num_styles) < 0:
            raise ValueError(f"sizes of an autoregressive student must be positive: {self}")


def periodic_positions(period: int, width: int) -> Tensor:
    """PPE of one period, (p, D): frame t has row t mod p."""
    angle = torch.arange(period)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


def head_slopes(heads: int) -> Tensor:
    """ALiBi's slopes (H,): a geometric sequence from 2^(-8 / H) (Press et al., ICLR 2022)."""
    return 2.0 ** (-8.0 / heads * torch.arange(1, heads + 1))


class DecoderLayer(nn.Module):
    """Post-norm transformer decoder layer, one frame at a time."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.self_project = nn.Linear(width, 3 * width)
        self.self_merge = nn.Linear(width, width)
        self.self_norm = nn.LayerNorm(width)
        self.cross_query = nn.Linear(width, width)
        self.cross_project = nn.Linear(width, 2 * width)
        self.cross_merge = nn.Linear(width, width)
        self.cross_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward, width),
        )
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def keys_values_of(self, memory: Tensor) -> KeysValues:
        """Of audio vectors (B, T, K, D), for the cross-attention: (B, T, H, K, d) each."""
        batch, length, vectors, width = memory.shape
        shape = (batch, length, vectors, 2, self.heads, width // self.heads)
        keys, values = self.cross_project(memory).view(shape).permute(3, 0, 1, 4, 2, 5)
        return keys, values

    def step(
        self, x: Tensor, heard: KeysValues, past: KeysValues | None, bias: Tensor
    ) -> tuple[Tensor, KeysValues]:
        """One frame.

        Args:
            x: (B, D).
            heard: keys and values (B, H, K, d) of this frame's audio vectors.
            past: keys and values of the frames before; None at the first.
            bias: (H, t + 1), of this frame against each frame up to it.

        Returns:
            (B, D), and keys and values with this frame's.
        """
        batch, width = x.shape
        query, key, value = self.self_project(x).view(batch, 3, self.heads, 1, -1).unbind(1)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias[None, :, None]
        )
        x = self.self_norm(x + self.dropout(self.self_merge(mixed.reshape(batch, width))))
        query = self.cross_query(x).view(batch, self.heads, 1, -1)
        mixed = functional.scaled_dot_product_attention(query, *heard)
        x = self.cross_norm(x + self.dropout(self.cross_merge(mixed.reshape(batch, width))))
        x = self.feedforward_norm(x + self.dropout(self.feedforward(x)))
        return x, (key, value)


class AutoregressiveStudent(nn.Module):
    """Speech and the motion so far to the displacement of the next frame from the template.

    Args:
        config: shape of the network.
        num_vertices: number of animated vertices R.
    """

    def __init__(self, config: AutoregressiveConfig, num_vertices: int) -> None:
        super().__init__()
        self.config, self.num_vertices = config, num_vertices
        width = config.width
        if config.num_mels is None:
            self._make_pretrained_encoder()
        else:
            self._make_log_mel_encoder(config.num_mels)
        self.motion_encoder = nn.Linear(3 * num_vertices, width)
        self.layers = nn.ModuleList(
            DecoderLayer(width, config.heads, config.feedforward, config.dropout)
            for _ in range(config.layers)
        )
        self.motion_decoder = nn.Linear(width, 3 * num_vertices)
        nn.init.zeros_(self.motion_decoder.weight)
        nn.init.zeros_(self.motion_decoder.bias)
        self.styles = StyleEncoder(config.num_styles, width) if config.num_styles else None
        self.dropout = nn.Dropout(config.dropout)
        self.positions: Tensor
        self.slopes: Tensor
        positions = periodic_positions(config.period_frames, width)
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("slopes", head_slopes(config.heads), persistent=False)

    def _make_pretrained_encoder(self) -> None:
        assert self.config.speech_encoder is not None
        self.speech: SpeechEncoder = pretrained_encoder(self.config.speech_encoder, 1)
        vector_width = self.speech.out.in_features // VECTORS_PER_FRAME
        # Each vector is projected by itself, so that the cross-attention has K = 2 to choose from.
        self.speech.out, self.speech.norm = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        if hasattr(self.speech.backbone, "feature_extractor"):
            self.speech.backbone.feature_extractor.requires_grad_(False)
        self.audio_map = nn.Linear(vector_width, self.config.width)

    def _make_log_mel_encoder(self, num_mels: int) -> None:
        config, width = self.config, self.config.width
        self.mel_mean: Tensor
        self.mel_std: Tensor
        self.register_buffer("mel_mean", torch.zeros(num_mels))
        self.register_buffer("mel_std", torch.ones(num_mels))
        self.smooth = nn.Conv1d(num_mels, width, SUBSAMPLER_KERNEL)
        self.reduce = nn.Conv1d(width, width, FEATURES_PER_FRAME, FEATURES_PER_FRAME)
        self.encoder = banded_layers(
            config.encoder_layers,
            width,
            config.heads,
            config.encoder_feedforward,
            config.dropout,
            look_back=config.look_back_frames,
            look_ahead=config.look_ahead_frames - MEL_LOOK_AHEAD,
        )

    def memory_of(self, features: Tensor, valid_mask: Tensor | None = None) -> Tensor:
        """Audio vectors (B, T, K, D) of log-mel (B, 4 T, F) or of samples (B, 4 T, 160).

        K is 1 for log-mel features, 2 with a pretrained encoder.
        """
        shape = (len(features), num_video_frames_of(features, self.config.num_mels))
        if valid_mask is None:
            valid_mask = torch.ones(shape, dtype=torch.bool, device=features.device)
        if self.config.num_mels is None:
            vectors = self.speech(features, valid_mask).view(*shape, VECTORS_PER_FRAME, -1)
            out: Tensor = self.audio_map(vectors)
            return out
        frames = Subsampler(self.mel_mean, self.mel_std, self.smooth, self.reduce)(features)
        for layer in self.encoder:
            frames = layer(frames, valid_mask)
        return frames[:, :, None]

    def roll_out(self, pieces: Iterable[Tensor], style: Tensor | None) -> Iterator[Tensor]:
        """The motion of the audio vectors of an utterance, piece after piece, frame by frame.

        Args:
            pieces: audio vectors (B, N, K, D), any N from 1 on.
            style: (B, 1, D), or None without styles.

        Yields:
            float (B, N, R, 3), mm, for each piece.
        """
        past: list[KeysValues | None] = [None] * len(self.layers)
        moved: Tensor | None = None
        frame = 0
        for memory in pieces:
            heard = [layer.keys_values_of(memory) for layer in self.layers]  # type: ignore[operator]
            made = []
            for place in range(memory.shape[1]):
                x = self._input(frame, moved, style, memory)
                ages = torch.arange(frame, -1, -1, device=memory.device)
                ages = ages.div(self.config.period_frames, rounding_mode="floor")
                bias = -self.slopes[:, None] * ages
                for number, layer in enumerate(self.layers):
                    now = heard[number][0][:, place], heard[number][1][:, place]
                    x, past[number] = layer.step(x, now, past[number], bias)  # type: ignore[operator]
                moved = self.motion_decoder(x)
                made.append(moved)
                frame += 1
            yield torch.stack(made, dim=1).unflatten(2, (self.num_vertices, 3))

    def _input(
        self, frame: int, moved: Tensor | None, style: Tensor | None, memory: Tensor
    ) -> Tensor:
        """f_t with its position, (B, D)."""
        x = memory.new_zeros(len(memory), self.config.width)
        if moved is not None:
            x = self.motion_encoder(moved)
        if style is not None:
            x = x + style[:, 0]
        out: Tensor = self.dropout(x + self.positions[frame % self.config.period_frames])
        return out

    def forward(
        self, features: Tensor, valid_mask: Tensor | None = None, style: Style | None = None
    ) -> Tensor:
        """Displacement of the animated vertices by full roll-out, with gradients through it.

        Args:
            features, valid_mask, style: as in `Student.forward`.

        Returns:
            float (B, T, R, 3), mm; zero in padding.
        """
        memory = self.memory_of(features, valid_mask)
        vector = style_vector(self.styles, style, len(features))
        (moved,) = self.roll_out([memory], vector)
        return moved if valid_mask is None else moved * valid_mask[..., None, None]

    def forward_windows(
        self, features: Tensor, window_frames: int = 400, style: Style | None = None
    ) -> Iterator[Tensor]:
        """The roll-out of one utterance in pieces; only the encoder works piece by piece.

        Args, pieces and what they equal: as in `Student.forward_windows`. The past is kept whole,
        so that time grows with the square of a very long sound, and memory with its length.

        Yields:
            float (at most window_frames, R, 3), mm.
        """
        vector = style_vector(self.styles, style, 1)
        for moved in self.roll_out(self._memory_windows(features, window_frames), vector):
            yield moved[0]

    def _memory_windows(self, features: Tensor, window_frames: int) -> Iterator[Tensor]:
        pretrained = self.config.num_mels is None
        margin = ENCODER_MARGIN_FRAMES if pretrained else SUBSAMPLER_FRAMES
        before = margin if pretrained else self.config.look_back_frames + margin
        after = margin if pretrained else self.config.look_ahead_frames
        num_frames = len(features) // FEATURES_PER_FRAME
        for start, stop, first, last in windows(num_frames, window_frames, before, after):
            piece = features[FEATURES_PER_FRAME * first : FEATURES_PER_FRAME * last]
            yield self.memory_of(piece[None])[:, start - first : stop - first]
