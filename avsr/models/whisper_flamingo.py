"""Whisper whose decoder also looks at the mouth, through gated cross-attention.

The scheme of Whisper-Flamingo (Rouditchenko et al. 2024, arXiv 2406.10082), after Flamingo (Alayrac
et al. 2022, arXiv 2204.14198): before each decoder layer stands a cross-attention to the visual
vectors and a feed-forward module, each behind a tanh gate that starts at 0, so that the network
starts as the Whisper that it was built from. Training has two steps: Whisper on noisy sound, then,
Whisper frozen, the gated layers and the visual encoder.

Ours differs in five things: the visual encoder is a trained recogniser's (the paper's is AV-HuBERT
large), its vectors get Whisper's sinusoids of the same instants, so that eye and ear share one time
axis, the new attention starts as a copy of Whisper's, an utterance without a visible mouth is
exactly Whisper's, and the gates move faster.
"""

# B batch, T frames at 25 fps, N = 2 T audio vectors, U tokens, D Whisper's width, V vocabulary

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.models.fusion import Stream
from avsr.models.layers import ConformerBlock, mask_of_lengths
from avsr.models.motion_encoder import MotionEncoder
from avsr.models.video_encoder import VideoEncoder
from avsr.models.whisper import Attention, DecoderState, KeysValues, Whisper, WhisperConfig
from avsr.units import LIP_POINTS, SAMPLES_PER_FRAME

if TYPE_CHECKING:
    from avsr.schema import Batch

# Adam moves a weight by about the learning rate an update, whatever its gradient: without this a
# gate would be open by a tenth after a hundred updates. The paper trains for tens of thousands.
GATE_SPEED = 20.0


@dataclass(frozen=True)
class WhisperFlamingoConfig:
    """A Whisper, and what it looks at."""

    whisper: WhisperConfig = field(default_factory=WhisperConfig)
    visual: Stream | None = "crops"  # or "lips"; None is Whisper alone
    # As in the recogniser whose encoder is taken over.
    visual_width: int = 128
    visual_heads: int = 4
    visual_layers: int = 1
    kernel: int = 15
    video_channels: tuple[int, ...] = (16, 32, 64, 128)
    dropout: float = 0.1  # of the visual encoder; Whisper has none

    def __post_init__(self) -> None:
        if self.visual not in ("crops", "lips", None):
            raise ValueError(f"visual stream {self.visual!r} must be 'crops', 'lips' or None")


class GatedCrossAttention(nn.Module):
    """x + tanh(a) attention(x, visual), then x + tanh(f) feed-forward(x); a = f = 0 at first."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.feed_forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.feed_forward_gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, visual: KeysValues, mask: Tensor) -> Tensor:
        """Map (B, U, D); rows of ``mask`` (B, 1, 1, T) without a True frame stay as they are."""
        seen = mask.any(-1, keepdim=True)
        # Something to attend to in every row, or the softmax is 0 / 0.
        attended = self.attention(self.attention_norm(x), visual, mask | ~seen)
        x = x + (GATE_SPEED * self.attention_gate).tanh() * attended * seen[:, 0]
        hidden = F.gelu(self.expand(self.feed_forward_norm(x)))
        opened = (GATE_SPEED * self.feed_forward_gate).tanh()
        return x + opened * self.contract(hidden) * seen[:, 0]


class WhisperFlamingo(nn.Module):
    """Whisper, a visual encoder, and gated layers between them; Whisper alone without a stream."""

    def __init__(self, config: WhisperFlamingoConfig) -> None:
        super().__init__()
        self.config = config
        self.whisper = Whisper(config.whisper)
        if config.visual is None:
            return
        width, whisper = config.visual_width, config.whisper
        self.visual_encoder: nn.Module = (
            VideoEncoder(width, config.video_channels, config.dropout)
            if config.visual == "crops"
            else MotionEncoder(LIP_POINTS, width, config.dropout)
        )
        self.visual_layers = nn.ModuleList(
            ConformerBlock(width, config.visual_heads, config.kernel, config.dropout)
            for _ in range(config.visual_layers)
        )
        self.to_whisper = nn.Linear(width, whisper.width)
        self.visual_norm = nn.LayerNorm(whisper.width)
        self.gates = nn.ModuleList(
            GatedCrossAttention(whisper.width, whisper.decoder_heads, whisper.hidden)
            for _ in range(whisper.decoder_layers)
        )

    def take_visual_encoder(self, state: dict[str, Tensor]) -> None:
        """Start from the visual encoder of a recogniser's ``state_dict``.

        Raises:
            ValueError: it has none for this stream, or one of another shape.
        """
        stream = self.config.visual
        for name, module in (("encoders", "visual_encoder"), ("stream_layers", "visual_layers")):
            prefix = f"{name}.{stream}."
            part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            try:
                getattr(self, module).load_state_dict(part)
            except RuntimeError as error:
                raise ValueError(
                    f"the recogniser's {prefix[:-1]} does not fit the visual encoder ({error}); "
                    "give the recogniser's width, heads, layers, kernel and channels"
                ) from error

    def take_whispers_attention(self) -> None:
        """Let the new layers look at the mouth as Whisper's own look at the sound.

        Eye and ear share one time axis, so what a decoder layer has learned of where to look holds
        for both; only ``to_whisper`` has to learn to speak as the sound's vectors do.
        """
        for gate, layer in zip(self.gates, self.whisper.decoder.layers, strict=True):
            gate.attention.load_state_dict(layer.encoder_attn.state_dict())  # type: ignore[union-attr]
            gate.attention_norm.load_state_dict(layer.encoder_attn_layer_norm.state_dict())  # type: ignore[union-attr]

    def freeze_whisper(self) -> None:
        """The second step of training: Whisper stays as it is."""
        self.whisper.requires_grad_(False)

    def start(self, batch: Batch) -> DecoderState:
        """Decoder state of a batch whose ``features`` are the waveform (B, 4 T, 160).

        A batch without sound is read as silence.
        """
        num_frames = int(batch.lengths.max())
        valid = mask_of_lengths(batch.lengths, num_frames)
        if batch.features is None:
            waveform = torch.zeros(
                len(batch.lengths), num_frames * SAMPLES_PER_FRAME, device=valid.device
            )
        else:
            waveform = batch.features.flatten(1)
        state = self.whisper.start(waveform, batch.lengths * SAMPLES_PER_FRAME)
        streams = batch.streams(valid)
        if self.config.visual is None or self.config.visual not in streams:
            return state
        values, present = streams[self.config.visual]
        memory = self.visual_vectors(values, present)
        keys_values = [gate.attention.keys_values(memory) for gate in self.gates]  # type: ignore[union-attr, operator]
        return replace(state, visual=keys_values, visual_mask=present[:, None, None])

    def visual_vectors(self, values: Tensor, present: Tensor) -> Tensor:
        """Vectors (B, T, D) of crops (B, T, H, W) or lips (B, T, P, 3), seen where ``present``."""
        x = self.visual_encoder(values, present)
        for layer in self.visual_layers:
            x = layer(x, present)
        positions = self.whisper.encoder.embed_positions.weight[: 2 * x.shape[1] : 2]
        return self.visual_norm(self.to_whisper(x)) + positions

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Logits (B, U, V) after each of the next tokens (B, U), and the state after them."""
        gates = None if self.config.visual is None else self.gates
        return self.whisper.decoder(tokens.to(state.audio_mask.device), state, gates)

    def forward(self, batch: Batch, tokens: Tensor) -> Tensor:
        """Logits (B, U, V) after each of the tokens (B, U), all given: for training."""
        return self.step(tokens, self.start(batch))[0]
