"""Whisper (Radford et al. 2022, arXiv 2212.04356) with masks and caches, without 30 s padding.

Parameters carry the names of the transformers layout, so that its weights load as they are. The
published network always sees 30 s; this one sees as many frames as there are, with the first
positions of Whisper's table. So its result deviates from the padded one (by how much:
``benchmarks/whisper_encoder.py``), and costs a tenth for a clip of 3 s.
"""

# B batch, S samples, K = 2 N log-mel frames at 100 Hz, N encoder frames at 50 Hz, D width,
# U tokens, V vocabulary, H heads, C channels of one head

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsr.audio import whisper_log_mel
from avsr.models.layers import mask_of_lengths, masked
from avsr.units import HOP_SAMPLES

KeysValues = tuple[Tensor, Tensor]  # each (B, H, frames or tokens, C)


@dataclass(frozen=True)
class WhisperConfig:
    """Shape of a Whisper; the defaults are tiny.en."""

    num_mels: int = 80
    width: int = 384  # D
    encoder_layers: int = 4
    encoder_heads: int = 6
    decoder_layers: int = 4
    decoder_heads: int = 6
    hidden: int = 1536  # of the feed-forward modules
    max_frames: int = 1500  # encoder frames: 30 s
    max_tokens: int = 448
    vocabulary_size: int = 51_864  # V

    def __post_init__(self) -> None:
        for heads in (self.encoder_heads, self.decoder_heads):
            if heads < 1 or self.width % heads:
                raise ValueError(f"Whisper width {self.width} must be a multiple of {heads} heads")


class Attention(nn.Module):
    """Multi-head attention as Whisper has it: the keys carry no bias."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def keys_values(self, memory: Tensor) -> KeysValues:
        """Keys and values of (B, N, D)."""
        return self._split(self.k_proj(memory)), self._split(self.v_proj(memory))

    def forward(
        self, x: Tensor, memory: KeysValues, mask: Tensor | None = None, *, causal: bool = False
    ) -> Tensor:
        """Attend from (B, U, D); ``mask`` (B, 1, 1 or U, N) bool is True where to look."""
        query = self._split(self.q_proj(x))
        attended = F.scaled_dot_product_attention(query, *memory, attn_mask=mask, is_causal=causal)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = Attention(width, num_heads)
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, N, D) to (B, N, D)."""
        y = self.self_attn_layer_norm(x)
        x = x + self.self_attn(y, self.self_attn.keys_values(y), mask)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class WhisperEncoder(nn.Module):
    """Log-mel at 100 Hz to vectors at 50 Hz.

    Vector n lies around sample 320 n, as Whisper centres its windows: 10 ms before the middle of
    the 20 ms that it stands for.
    """

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.conv1 = nn.Conv1d(config.num_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_frames, width)
        self.embed_positions.requires_grad_(False)  # Whisper's sinusoids
        self.layers = nn.ModuleList(
            EncoderLayer(width, config.encoder_heads, config.hidden)
            for _ in range(config.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(width)

    def layers_of_mel(self, log_mel: Tensor, valid: Tensor) -> list[Tensor]:
        """Outputs (B, N, D) of the front-end and of every layer, the last one after its norm.

        Args:
            log_mel: (B, 2 N, F) of :func:`avsr.audio.whisper_log_mel`.
            valid: (B, N) bool, True before each utterance's end.

        Raises:
            ValueError: longer than Whisper's 30 s.
        """
        num_frames = valid.shape[1]
        if num_frames > self.config.max_frames:
            raise ValueError(
                f"{num_frames} frames of 20 ms are more than Whisper's {self.config.max_frames}; "
                "cut the audio into pieces of at most 30 s"
            )
        # Zeros beyond the end are what the convolution adds there to an utterance alone.
        x = masked(log_mel, valid.repeat_interleave(2, dim=1)).transpose(1, 2)
        x = F.gelu(self.conv2(F.gelu(self.conv1(x)))).transpose(1, 2)
        x = x + self.embed_positions.weight[:num_frames]
        mask = None if valid.all() else valid[:, None, None]
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1], mask))
        outputs[-1] = self.layer_norm(outputs[-1])
        return outputs

    def layers_of_waveform(self, waveform: Tensor, lengths: Tensor) -> list[Tensor]:
        """The same from waveforms (B, S), zeros after ``lengths`` (B,), multiples of 320."""
        log_mel = whisper_log_mel(waveform, lengths, self.config.num_mels)
        valid = mask_of_lengths(lengths // (2 * HOP_SAMPLES), log_mel.shape[1] // 2)
        return self.layers_of_mel(log_mel, valid)

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms to vectors (B, N, D) and their mask (B, N)."""
        vectors = self.layers_of_waveform(waveform, lengths)[-1]
        return vectors, mask_of_lengths(lengths // (2 * HOP_SAMPLES), vectors.shape[1])


@dataclass(frozen=True)
class DecoderState:
    """What a decoder keeps between its steps; rows are hypotheses."""

    audio: list[KeysValues]  # of each layer's cross-attention
    audio_mask: Tensor  # (B, 1, 1, N)
    past: list[KeysValues] = field(default_factory=list)  # of the tokens so far
    visual: list[KeysValues] | None = None  # of each gated layer
    visual_mask: Tensor | None = None  # (B, 1, 1, T)

    @property
    def num_tokens(self) -> int:
        """How many tokens have been read."""
        return self.past[0][0].shape[2] if self.past else 0

    def expanded(self, times: int) -> DecoderState:
        """Every row ``times`` times, one after the other: the beams of an utterance."""

        def more(tensor: Tensor) -> Tensor:
            return tensor.repeat_interleave(times, dim=0)

        def pairs(cached: list[KeysValues]) -> list[KeysValues]:
            return [(more(keys), more(values)) for keys, values in cached]

        return DecoderState(
            pairs(self.audio),
            more(self.audio_mask),
            pairs(self.past),
            None if self.visual is None else pairs(self.visual),
            None if self.visual_mask is None else more(self.visual_mask),
        )

    def reordered(self, rows: Tensor) -> DecoderState:
        """Rows continue those of ``rows`` (B,), each of its own utterance: only tokens move."""
        rows = rows.to(self.audio_mask.device)
        return replace(self, past=[(keys[rows], values[rows]) for keys, values in self.past])


class DecoderLayer(nn.Module):
    """Pre-norm causal self-attention, cross-attention to the audio, feed-forward."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = Attention(width, num_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, num_heads)
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(
        self, x: Tensor, past: KeysValues | None, audio: KeysValues, audio_mask: Tensor
    ) -> tuple[Tensor, KeysValues]:
        """Map (B, U, D) to (B, U, D), and the keys and values of all tokens so far."""
        y = self.self_attn_layer_norm(x)
        cached = self.self_attn.keys_values(y)
        before, new = (0 if past is None else past[0].shape[2]), x.shape[1]
        if past is not None:
            cached = torch.cat([past[0], cached[0]], 2), torch.cat([past[1], cached[1]], 2)
        mask = None
        if new > 1:
            seen = torch.ones(new, before + new, dtype=torch.bool, device=x.device)
            mask = seen.tril(before)[None, None]
        x = x + self.self_attn(y, cached, mask)
        y = self.encoder_attn_layer_norm(x)
        x = x + self.encoder_attn(y, audio, audio_mask)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x)))), cached


class WhisperDecoder(nn.Module):
    """Tokens and audio to the logits of the next token; output and input embeddings are one."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocabulary_size, config.width)
        self.embed_positions = nn.Embedding(config.max_tokens, config.width)
        self.layers = nn.ModuleList(
            DecoderLayer(config.width, config.decoder_heads, config.hidden)
            for _ in range(config.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(config.width)

    def start(self, memory: Tensor, valid: Tensor) -> DecoderState:
        """State before the first token, from encoder vectors (B, N, D) and their mask (B, N)."""
        audio = [layer.encoder_attn.keys_values(memory) for layer in self.layers]  # type: ignore[union-attr, operator]
        return DecoderState(audio, valid[:, None, None])

    def forward(
        self, tokens: Tensor, state: DecoderState, gates: nn.ModuleList | None = None
    ) -> tuple[Tensor, DecoderState]:
        """Logits (B, U, V) after each of the next tokens (B, U), and the state after them.

        Args:
            tokens: int64; rows are equally far.
            state: of :meth:`start`, or what this method returned.
            gates: modules called before each layer with the state's visual keys and values.

        Raises:
            ValueError: more tokens than the network has positions for.
        """
        first, last = state.num_tokens, state.num_tokens + tokens.shape[1]
        if last > self.config.max_tokens:
            raise ValueError(
                f"{last} tokens are more than Whisper's {self.config.max_tokens}; cut the text"
            )
        x = self.embed_tokens(tokens) + self.embed_positions.weight[first:last]
        past = []
        for number, layer in enumerate(self.layers):
            if gates is not None and state.visual is not None:
                x = gates[number](x, state.visual[number], state.visual_mask)
            before = state.past[number] if state.past else None
            x, cached = layer(x, before, state.audio[number], state.audio_mask)
            past.append(cached)
        logits = self.layer_norm(x) @ self.embed_tokens.weight.T
        return logits, replace(state, past=past)


class Whisper(nn.Module):
    """Encoder and decoder."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = WhisperEncoder(config)
        self.decoder = WhisperDecoder(config)

    def start(self, waveform: Tensor, lengths: Tensor) -> DecoderState:
        """Decoder state of waveforms (B, S) with ``lengths`` (B,) in samples, multiples of 320."""
        return self.decoder.start(*self.encoder(waveform, lengths))
