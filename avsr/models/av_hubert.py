"""The network of AV-HuBERT (Shi et al., ICLR 2022, arXiv 2201.02184), for its published weights.

Mouth crops go through a ResNet, stacked log filter banks through a linear map; the two are joined
frame by frame and read by a transformer with a convolution for its positions. Fine-tuned weights
add a CTC layer or a transformer decoder.
"""

# B batch, T frames at 25 fps, F audio features a frame, H W image, U tokens, D width, K vocabulary

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.layers import masked
from avsr.models.resnet import FRONTEND_WIDTH, Activation, VideoResNet
from avsr.models.transformer_decoder import (
    CrossAttention,
    TransformerDecoder,
    TransformerDecoderConfig,
)

Head = Literal["none", "ctc", "decoder"]
Joining = Literal["concat", "add"]


@dataclass(frozen=True)
class AvHubertConfig:
    """Shape of the network; the defaults are those of the base encoder."""

    width: int = 768  # D
    num_heads: int = 12
    feed_forward: int = 3072  # inner width
    num_layers: int = 12
    norm_first: bool = False  # True in the large encoder
    audio_features: int = 104  # F: 26 log filter banks of four 10 ms frames
    position_kernel: int = 128  # frames
    position_groups: int = 16
    joining: Joining = "concat"
    activation: Activation = "prelu"  # of the ResNet
    dropout: float = 0.1
    head: Head = "none"
    vocabulary_size: int = 0  # K of the head
    decoder: TransformerDecoderConfig | None = None  # of the head "decoder"

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.num_heads} heads")
        if (self.head == "decoder") != (self.decoder is not None):
            raise ValueError(f"head {self.head!r} and decoder {self.decoder} do not fit together")
        if (self.head == "none") != (self.vocabulary_size == 0):
            raise ValueError(
                f"head {self.head!r} and vocabulary_size {self.vocabulary_size} do not fit together"
            )


class HubertLayer(nn.Module):
    """Transformer layer with GELU, layer norm first or last."""

    def __init__(self, config: AvHubertConfig) -> None:
        super().__init__()
        self.attention = CrossAttention(config.width, config.width, config.num_heads)
        self.attention_norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, config.feed_forward)
        self.contract = nn.Linear(config.feed_forward, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.norm_first = config.norm_first
        self.dropout = nn.Dropout(config.dropout)

    def _attend(self, x: Tensor, valid_mask: Tensor) -> Tensor:
        keys, values = self.attention.keys_and_values(x)
        return self.dropout(self.attention(x, keys, values, valid_mask[:, None, None]))

    def _feed(self, x: Tensor) -> Tensor:
        return self.dropout(self.contract(F.gelu(self.expand(x))))

    def forward(self, x: Tensor, valid_mask: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D); invalid frames are not attended to."""
        if self.norm_first:
            x = x + self._attend(self.attention_norm(x), valid_mask)
            return x + self._feed(self.feed_forward_norm(x))
        x = self.attention_norm(x + self._attend(x, valid_mask))
        return self.feed_forward_norm(x + self._feed(x))


class AvHubert(nn.Module):
    """AV-HuBERT's encoder, with the head that its weights were fine-tuned with."""

    def __init__(self, config: AvHubertConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        joined = 2 * width if config.joining == "concat" else width
        self.frontend = VideoResNet(config.activation)
        self.video_map = nn.Linear(FRONTEND_WIDTH, width)
        self.audio_map = nn.Linear(config.audio_features, width)
        self.joined_norm = nn.LayerNorm(joined)
        self.joined_map = nn.Linear(joined, width) if joined != width else nn.Identity()
        self.positions = nn.Conv1d(
            width,
            width,
            config.position_kernel,
            padding=config.position_kernel // 2,
            groups=config.position_groups,
        )
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(HubertLayer(config) for _ in range(config.num_layers))
        self.dropout = nn.Dropout(config.dropout)
        if config.head == "ctc":
            self.to_logits = nn.Linear(width, config.vocabulary_size)
        if config.decoder is not None:
            self.decoder = TransformerDecoder(config.decoder)

    def encode(
        self, valid_mask: Tensor, *, video: Tensor | None = None, audio: Tensor | None = None
    ) -> Tensor:
        """Memory (B, T, D); a stream that is not given counts as zeros after its map.

        Args:
            valid_mask: bool (B, T), True = a real frame.
            video: gray crops (B, T, 88, 88), ``(value / 255 - 0.421) / 0.165``.
            audio: stacked log filter banks (B, T, F), each frame with zero mean and unit variance.

        Raises:
            ValueError: neither stream, or one of another length.
        """
        streams = {"audio": audio, "video": video}
        if all(values is None for values in streams.values()):
            raise ValueError("neither video nor audio given; AV-HuBERT needs at least one")
        for name, values in streams.items():
            if values is not None and values.shape[1] != valid_mask.shape[1]:
                raise ValueError(
                    f"{name} has {values.shape[1]} frames, the mask {valid_mask.shape[1]}; cut or "
                    "pad it"
                )
        heard = None if audio is None else self.audio_map(audio)
        seen = None if video is None else self.video_map(self.frontend(video, valid_mask))
        there = heard if heard is not None else seen
        assert there is not None
        parts = [torch.zeros_like(there) if part is None else part for part in (heard, seen)]
        if self.config.joining == "concat":
            joined = torch.cat(parts, dim=-1)
        else:
            joined = parts[0] + parts[1]
        x = masked(self.dropout(self.joined_map(self.joined_norm(joined))), valid_mask)
        # An even kernel gives one frame too many, the last.
        around = self.positions(x.transpose(1, 2))[:, :, : x.shape[1]]
        x = x + F.gelu(around).transpose(1, 2)
        if not self.config.norm_first:
            x = self.norm(x)
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x, valid_mask)
        if self.config.norm_first:
            x = self.norm(x)
        return masked(x, valid_mask)

    def ctc_logits(self, memory: Tensor) -> Tensor:
        """CTC logits (B, T, K); only with the head ``"ctc"``."""
        self._need("ctc")
        return self.to_logits(memory)

    def decode_logits(self, tokens_in: Tensor, memory: Tensor, memory_valid: Tensor) -> Tensor:
        """Decoder logits (B, U, K) after ``tokens_in`` (B, U), which start with token 2."""
        self._need("decoder")
        return self.decoder(tokens_in, memory, memory_valid)

    def _need(self, head: Head) -> None:
        if self.config.head != head:
            raise ValueError(
                f"these AV-HuBERT weights have the head {self.config.head!r}, not {head!r}; import "
                "weights that were fine-tuned with it"
            )
