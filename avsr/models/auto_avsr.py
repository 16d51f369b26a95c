"""The network of Auto-AVSR (Ma et al., ICASSP 2023, arXiv 2303.14307), for its published weights.

One stream: front-end, Conformer, CTC and a transformer decoder. Both streams (release v1.0.0): a
front-end and a Conformer each, joined frame by frame by a two-layer map with batch norm. Token 0
is CTC's blank; the last token begins and ends a sentence in the decoder.
"""

# B batch, T frames at 25 fps, S samples = 640 T, H W image, U tokens, D width, K vocabulary

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.layers import masked
from avsr.models.relative_conformer import RelativeConformer
from avsr.models.resnet import FRONTEND_WIDTH, Activation, AudioResNet, VideoResNet
from avsr.models.transformer_decoder import TransformerDecoder, TransformerDecoderConfig
from avsr.schema import Modality
from avsr.units import SAMPLES_PER_FRAME


@dataclass(frozen=True)
class AutoAvsrConfig:
    """Shape of the network; the defaults are those of the published weights (250 M parameters)."""

    modality: Modality
    vocabulary_size: int = 5049  # K: blank, 5047 SentencePiece units, end of sentence
    width: int = 768  # D
    num_heads: int = 12
    feed_forward: int = 3072  # inner width, encoder and decoder
    encoder_layers: int = 12
    kernel: int = 31  # frames of the depthwise convolution
    decoder_layers: int = 6
    fusion_width: int = 8192  # hidden width of the audio-visual map
    activation: Activation = "swish"  # of the front-ends
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.vocabulary_size < 3:
            raise ValueError(
                f"vocabulary_size {self.vocabulary_size} must be at least 3: blank, one piece, end"
            )
        if self.width % self.num_heads or self.width % 2:
            raise ValueError(
                f"width {self.width} must be even and a multiple of {self.num_heads} heads"
            )

    @property
    def streams(self) -> tuple[str, ...]:
        """``"video"``, ``"audio"`` or both."""
        return ("video", "audio") if self.modality == "audio_visual" else (self.modality,)


class JoiningMap(nn.Module):
    """Concatenated streams to one: linear, batch norm, ReLU, linear."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.expand = nn.Linear(2 * width, inner)
        self.norm = nn.BatchNorm1d(inner)
        self.contract = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, 2 D) to (B, T, D)."""
        inner = self.norm(self.expand(x).transpose(1, 2)).transpose(1, 2)
        return self.contract(F.relu(inner))


class AutoAvsr(nn.Module):
    """Auto-AVSR's recogniser: encoded memory, CTC logits, decoder."""

    def __init__(self, config: AutoAvsrConfig) -> None:
        super().__init__()
        self.config = config
        makers = {"video": VideoResNet, "audio": AudioResNet}
        self.frontends = nn.ModuleDict(
            {name: makers[name](config.activation) for name in config.streams}
        )
        self.encoders = nn.ModuleDict(
            {
                name: RelativeConformer(
                    FRONTEND_WIDTH,
                    config.width,
                    config.num_heads,
                    config.feed_forward,
                    config.encoder_layers,
                    config.kernel,
                    config.dropout,
                )
                for name in config.streams
            }
        )
        if len(config.streams) == 2:
            self.fusion = JoiningMap(config.width, config.fusion_width)
        self.to_logits = nn.Linear(config.width, config.vocabulary_size)
        self.decoder = TransformerDecoder(
            TransformerDecoderConfig(
                config.vocabulary_size,
                config.width,
                config.width,
                config.num_heads,
                config.feed_forward,
                config.decoder_layers,
                "espnet",
                dropout=config.dropout,
            )
        )

    def encode(
        self, valid_mask: Tensor, *, video: Tensor | None = None, audio: Tensor | None = None
    ) -> Tensor:
        """Memory (B, T, D) of the streams that this network takes.

        Args:
            valid_mask: bool (B, T), True = a real frame.
            video: gray crops (B, T, 88, 88), ``(value / 255 - 0.421) / 0.165``.
            audio: waveform (B, 640 T) at 16 kHz with zero mean and unit variance.

        Raises:
            ValueError: a stream is missing, superfluous or of another length.
        """
        given = {"video": video, "audio": audio}
        there = {name: values for name, values in given.items() if values is not None}
        if set(there) != set(self.config.streams):
            raise ValueError(
                f"this network takes {' and '.join(self.config.streams)}, got "
                f"{' and '.join(there) or 'nothing'}; give exactly those streams"
            )
        encoded = []
        for name in self.config.streams:
            rate = SAMPLES_PER_FRAME if name == "audio" else 1
            if there[name].shape[1] != rate * valid_mask.shape[1]:
                raise ValueError(
                    f"{name} has length {there[name].shape[1]}, {valid_mask.shape[1]} frames need "
                    f"{rate * valid_mask.shape[1]}; cut or pad it"
                )
            features = self.frontends[name](there[name], valid_mask)
            encoded.append(self.encoders[name](features, valid_mask))
        if len(encoded) == 1:
            return encoded[0]
        return masked(self.fusion(torch.cat(encoded, dim=-1)), valid_mask)

    def ctc_logits(self, memory: Tensor) -> Tensor:
        """CTC logits (B, T, K) of the memory."""
        return self.to_logits(memory)

    def decode_logits(self, tokens_in: Tensor, memory: Tensor, memory_valid: Tensor) -> Tensor:
        """Decoder logits (B, U, K) after ``tokens_in`` (B, U), which start with token K - 1."""
        return self.decoder(tokens_in, memory, memory_valid)
