"""The audio-visual recogniser: three stream encoders, fusion, Conformer layers, CTC logits."""

# B batch, T frames at 25 fps, F mel bands, P lip points, D width, K vocabulary with blank 0

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from avsr.models.audio_encoder import AudioEncoder
from avsr.models.decoder import AttentionDecoder
from avsr.models.fusion import STREAMS, Fusion, Stream
from avsr.models.layers import ChunkConfig, ConformerBlock, mask_of_lengths
from avsr.models.motion_encoder import MotionEncoder
from avsr.models.speech_encoder import SpeechEncoder, SpeechEncoderConfig
from avsr.models.transducer import Transducer
from avsr.models.video_encoder import VideoEncoder
from avsr.units import LIP_POINTS

if TYPE_CHECKING:
    from avsr.schema import Batch


@dataclass(frozen=True)
class RecognizerConfig:
    """Shape of a recogniser."""

    vocabulary_size: int  # K, the CTC blank included
    streams: tuple[Stream, ...] = STREAMS  # what the network can take; each may be missing
    num_mels: int | None = 80  # None: the waveform itself, for a speech_encoder
    width: int = 144  # D
    num_heads: int = 4
    stream_layers: int = 1  # Conformer layers of each stream before the fusion
    fused_layers: int = 4  # Conformer layers after it
    kernel: int = 15  # frames of the depthwise convolution: 0.6 s
    video_channels: tuple[int, ...] = (16, 32, 64, 128)  # stem and residual stages
    video_blocks: int = 1  # residual blocks of a stage
    dropout: float = 0.1
    decoder_layers: int = 0  # of the attention decoder; 0 is CTC alone
    # A pretrained audio encoder: its SpeechEncoderConfig as JSON, so that a file tells it whole.
    speech_encoder: str | None = None
    # For streaming: convolutions that look back only, and stems with a bounded look-ahead (crops
    # and lips 2 frames, sound none). One network then serves whole files and streams.
    causal: bool = False
    transducer: bool = False  # a transducer head beside the others

    def __post_init__(self) -> None:
        if self.vocabulary_size < 2:
            raise ValueError(
                f"vocabulary_size {self.vocabulary_size} must be at least 2: blank and one piece"
            )
        if not self.streams or not set(self.streams) <= set(STREAMS):
            raise ValueError(f"streams {self.streams} must be some of {', '.join(STREAMS)}")
        if (self.num_mels is None) != (self.speech_encoder is not None):
            raise ValueError(
                f"num_mels {self.num_mels} must be None with a speech_encoder, and only then: it "
                "reads the waveform"
            )
        if self.num_mels is not None and self.num_mels % 4:
            raise ValueError(f"num_mels {self.num_mels} must be a multiple of 4")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} must be odd, so that it has a middle frame")
        if len(self.video_channels) < 2 or any(c < 1 or c % 8 for c in self.video_channels):
            raise ValueError(
                f"video_channels {self.video_channels} must be two or more multiples of 8: the "
                "group norms have 8 groups"
            )
        if self.video_blocks < 1:
            raise ValueError(f"video_blocks {self.video_blocks} must be at least 1")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout {self.dropout} must be in [0, 1)")
        if self.decoder_layers < 0:
            raise ValueError(f"decoder_layers {self.decoder_layers} must be 0 (none) or more")
        if self.causal and self.speech_encoder is not None:
            raise ValueError(
                "causal True and a speech_encoder exclude each other: a pretrained speech encoder "
                "looks at the whole utterance; train with log-mel features"
            )


def _audio_encoder(config: RecognizerConfig) -> nn.Module:
    if config.speech_encoder is not None:
        return SpeechEncoder(SpeechEncoderConfig.from_json(config.speech_encoder), config.width)
    assert config.num_mels is not None
    return AudioEncoder(config.num_mels, config.width)


class Recognizer(nn.Module):
    """Audio-visual speech recogniser: CTC, and if asked for attention and transducer decoders."""

    def __init__(self, config: RecognizerConfig) -> None:
        super().__init__()
        self.config = config
        width, dropout = config.width, config.dropout
        makers = {
            "audio": lambda: _audio_encoder(config),
            "crops": lambda: VideoEncoder(
                width, config.video_channels, dropout, config.video_blocks
            ),
            "lips": lambda: MotionEncoder(LIP_POINTS, width, dropout, config.causal),
        }
        self.encoders = nn.ModuleDict({name: makers[name]() for name in config.streams})
        self.stream_layers = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    ConformerBlock(width, config.num_heads, config.kernel, dropout, config.causal)
                    for _ in range(config.stream_layers)
                )
                for name in config.streams
            }
        )
        self.fusion = Fusion(config.streams, width, dropout)
        self.layers = nn.ModuleList(
            ConformerBlock(width, config.num_heads, config.kernel, dropout, config.causal)
            for _ in range(config.fused_layers)
        )
        self.to_logits = nn.Linear(width, config.vocabulary_size)
        # For training with word times; decoding does not use them.
        self.frame_heads = nn.ModuleDict(
            {name: nn.Linear(width, config.vocabulary_size) for name in config.streams}
        )
        self.decoder = (
            AttentionDecoder(
                config.vocabulary_size, width, config.num_heads, config.decoder_layers, dropout
            )
            if config.decoder_layers
            else None
        )
        self.transducer = (
            Transducer(config.vocabulary_size, width, dropout) if config.transducer else None
        )

    def encode(
        self, stream: Stream, values: Tensor, present: Tensor, *, chunks: ChunkConfig | None = None
    ) -> Tensor:
        """Encode one stream to (B, T, D).

        Args:
            stream: ``"audio"`` takes log-mel (B, 4 T, F), or the waveform (B, 4 T, 160) for a
                pretrained speech encoder, ``"crops"`` gray crops (B, T, H, W),
                ``"lips"`` points (B, T, P, 3) in millimetres.
            present: (B, T) bool, frames at which the stream is there.
            chunks: what the attention sees, see :class:`ChunkConfig`; ``None`` is everything.

        Raises:
            ValueError: chunks of a network whose convolutions look beyond them.
        """
        if chunks is not None and not self.config.causal:
            raise ValueError(
                "chunks need a network with causal True: this one's convolutions look ahead; "
                "train one with --loop.model.causal"
            )
        x = self.encoders[stream](values, present)
        for layer in self.stream_layers[stream]:  # type: ignore[attr-defined]
            x = layer(x, present, chunks=chunks)
        return x

    def fuse(
        self,
        encoded: dict[Stream, tuple[Tensor, Tensor]],
        valid_mask: Tensor,
        *,
        chunks: ChunkConfig | None = None,
    ) -> Tensor:
        """Memory (B, T, D) from encoded streams and their presence, see :class:`Fusion`."""
        x = self.fusion(encoded, valid_mask)
        for layer in self.layers:
            x = layer(x, valid_mask, chunks=chunks)
        return x

    def ctc_logits(self, memory: Tensor) -> Tensor:
        """CTC logits (B, T, K) of the memory (B, T, D)."""
        return self.to_logits(memory)

    def recognize(
        self,
        encoded: dict[Stream, tuple[Tensor, Tensor]],
        valid_mask: Tensor,
        *,
        chunks: ChunkConfig | None = None,
    ) -> Tensor:
        """CTC logits (B, T, K) from encoded streams and their presence."""
        return self.ctc_logits(self.fuse(encoded, valid_mask, chunks=chunks))

    def encode_batch(
        self, batch: Batch, *, chunks: ChunkConfig | None = None
    ) -> tuple[dict[Stream, tuple[Tensor, Tensor]], Tensor]:
        """The batch's streams, encoded to (B, T, D), with their presence (B, T); its valid mask.

        A stream is computed only for the utterances that have it.
        """
        num_frames = int(batch.lengths.max())
        valid_mask = mask_of_lengths(batch.lengths, num_frames)
        encoded: dict[Stream, tuple[Tensor, Tensor]] = {}
        for name, (values, present) in batch.streams(valid_mask).items():
            if name not in self.config.streams:
                continue
            rows = present.any(1)
            some = None
            if rows.any():
                some = self.encode(name, values[rows], present[rows], chunks=chunks)
            full = batch.lengths.new_zeros((*valid_mask.shape, self.config.width)).to(
                self.fusion.absent[name].dtype if some is None else some.dtype
            )
            if some is not None:
                full[rows] = some
            encoded[name] = (full, present)
        return encoded, valid_mask

    def memory_of(self, batch: Batch, *, chunks: ChunkConfig | None = None) -> Tensor:
        """Memory (B, T, D) of a batch: what CTC and the attention decoder look at."""
        return self.fuse(*self.encode_batch(batch, chunks=chunks), chunks=chunks)

    def forward(self, batch: Batch, *, chunks: ChunkConfig | None = None) -> Tensor:
        """Logits (B, T, K) of a batch; streams that the batch lacks count as missing."""
        return self.forward_with_frames(batch, chunks=chunks)[0]

    def forward_with_frames(
        self, batch: Batch, *, chunks: ChunkConfig | None = None
    ) -> tuple[Tensor, dict[Stream, tuple[Tensor, Tensor]]]:
        """Logits, and for each stream its own frame logits (B, T, K) and presence (B, T)."""
        encoded, valid_mask = self.encode_batch(batch, chunks=chunks)
        logits = self.recognize(encoded, valid_mask, chunks=chunks)
        return logits, self.frame_logits(encoded)

    def frame_logits(
        self, encoded: dict[Stream, tuple[Tensor, Tensor]]
    ) -> dict[Stream, tuple[Tensor, Tensor]]:
        """Each encoded stream's own frame logits (B, T, K), and its presence."""
        return {name: (self.frame_heads[name](x), there) for name, (x, there) in encoded.items()}
