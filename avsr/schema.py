"""The small frozen records in which data travels between the parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from torch import Tensor

Modality = Literal["audio", "video", "audio_visual"]
AskedModality = Literal["auto", "audio", "video", "audio_visual"]  # auto: what there is
VisualSource = Literal[
    "none",
    "mouth_crops",
    "tracked_lips",
    "generated_from_clean",
    "generated_from_noisy",
    "generated_from_other",
    "still",
]
MODALITIES: tuple[str, ...] = get_args(Modality)
VISUAL_SOURCES: tuple[str, ...] = get_args(VisualSource)


@dataclass(frozen=True)
class WordTime:
    """A word with its time span in seconds from the start of the utterance."""

    word: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class PhoneTime:
    """A phone (IPA) with its time span in seconds from the start of the utterance."""

    phone: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class RecognizedWord:
    """A decoded word: its span in seconds from the start of the file, its confidence in [0, 1].

    ``confidence`` is the mean, over the word's tokens, of each token's posterior along the best CTC
    alignment: what the network believes, not a calibrated chance of being right.
    """

    word: str
    start_s: float
    end_s: float
    confidence: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.start_s <= self.end_s and 0.0 <= self.confidence <= 1.0):
            raise ValueError(
                f"word {self.word!r}: span {self.start_s}-{self.end_s} s and confidence "
                f"{self.confidence} must be in order, at least 0, and the last at most 1"
            )


@dataclass(frozen=True)
class Segment:
    """Words said without a long pause."""

    words: tuple[RecognizedWord, ...]

    @property
    def start_s(self) -> float:
        """Start of the first word."""
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        """End of the last word."""
        return self.words[-1].end_s

    @property
    def text(self) -> str:
        """The words with spaces between them."""
        return " ".join(word.word for word in self.words)


@dataclass(frozen=True)
class Transcript:
    """What was said in a file, and when.

    ``modality`` is what was really read; ``warnings`` are lines for the user, each names the file.
    """

    source: str
    duration_s: float
    modality: Modality
    segments: tuple[Segment, ...]
    warnings: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[RecognizedWord, ...]:
        """All words in order."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def text(self) -> str:
        """The whole text on one line, ``""`` where nothing was said."""
        return " ".join(segment.text for segment in self.segments)

    def to_row(self) -> dict[str, Any]:
        """The record as a JSON-ready dict, times and confidences to three decimals."""
        return {
            "source": self.source,
            "duration_s": round(self.duration_s, 3),
            "modality": self.modality,
            "text": self.text,
            "segments": [
                {
                    "start_s": round(segment.start_s, 3),
                    "end_s": round(segment.end_s, 3),
                    "text": segment.text,
                    "words": [
                        {
                            "word": word.word,
                            "start_s": round(word.start_s, 3),
                            "end_s": round(word.end_s, 3),
                            "confidence": round(word.confidence, 3),
                        }
                        for word in segment.words
                    ],
                }
                for segment in self.segments
            ],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Hypothesis:
    """One decoded utterance in one condition: a row of ``hypotheses.jsonl``.

    ``snr_db`` is ``None`` for clean audio (0.0 is 0 dB); ``seed`` is the seed of the noise,
    ``None`` where there is none; ``noise_type`` is ``"none"`` for clean audio.
    ``video_condition`` says what was done to the pictures (``"clean"``: nothing, or none were
    seen), ``reverberation`` in which room the speech was said (``"none"``: as it was recorded).
    """

    utterance_id: str
    speaker_id: str
    system: str
    modality: Modality
    visual_source: VisualSource
    noise_type: str
    snr_db: float | None
    seed: int | None
    reference: str
    hypothesis: str
    video_condition: str = "clean"
    reverberation: str = "none"

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(
                f"utterance {self.utterance_id}: modality {self.modality!r} is not one of "
                f"{', '.join(MODALITIES)}"
            )
        if self.visual_source not in VISUAL_SOURCES:
            raise ValueError(
                f"utterance {self.utterance_id}: visual source {self.visual_source!r} is not one "
                f"of {', '.join(VISUAL_SOURCES)}"
            )
        if self.visual_source == "none" and self.video_condition != "clean":
            raise ValueError(
                f"utterance {self.utterance_id}: video condition {self.video_condition!r} of a "
                "recogniser that sees nothing; write 'clean'"
            )

    def to_row(self) -> dict[str, Any]:
        """The record as a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Hypothesis:
        """The inverse of :meth:`to_row`.

        Raises:
            ValueError: a field is missing or unknown; the message names it.
        """
        names = {field.name for field in fields(cls)}
        # Rows from before these two conditions existed were clean and dry.
        added = {"video_condition", "reverberation"}
        missing, unknown = sorted(names - added - row.keys()), sorted(row.keys() - names)
        if missing or unknown:
            raise ValueError(
                f"hypothesis of utterance {row.get('utterance_id', '?')}: "
                f"missing fields {missing}, unknown fields {unknown}; expected {sorted(names)}"
            )
        return cls(**row)


@dataclass(frozen=True)
class ErrorCounts:
    """Edit operations that turn a reference into a hypothesis; sums before rates."""

    substitutions: int
    insertions: int
    deletions: int
    reference_length: int

    @property
    def errors(self) -> int:
        """Substitutions + insertions + deletions."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float:
        """Errors per reference token, as a fraction (0.05 is 5 %).

        Raises:
            ValueError: there is no reference token, so no rate exists.
        """
        if self.reference_length == 0:
            raise ValueError(
                f"no error rate for 0 reference tokens ({self.errors} errors); "
                "count over a corpus that has words"
            )
        return self.errors / self.reference_length

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.reference_length + other.reference_length,
        )


@dataclass(frozen=True)
class Batch:
    """Utterances padded to one length, on the 25 fps time base.

    B batch, T frames, F mel bands, P lip points, U tokens. A stream that no utterance has is
    ``None``; one that only some have is marked per utterance and frame by its presence.
    """

    utterance_ids: tuple[str, ...]
    lengths: Tensor  # (B,) int64, frames
    features: Tensor | None  # (B, 4 T, F) float32 log-mel
    mouth_crops: Tensor | None  # (B, T, H, W) uint8 gray
    lips: Tensor | None  # (B, T, P, 3) float32 mm
    audio_present: Tensor  # (B,) bool
    crops_present: Tensor  # (B, T) bool: the stream is used and the frame was tracked
    lips_present: Tensor  # (B, T) bool
    tokens: Tensor | None = None  # (B, U) int64, 0 after the end
    token_lengths: Tensor | None = None  # (B,) int64
    frame_tokens: Tensor | None = None  # (B, T) int64: token said at a frame, 0 none, -1 unknown
    # Drawn for training in chunks: frames of one, and how many before it are seen (None: all).
    chunks: tuple[int, int | None] | None = None

    def streams(self, valid_mask: Tensor) -> dict[Any, tuple[Tensor, Tensor]]:
        """Values and presence (B, T) of each stream that at least one utterance has."""
        present = {
            "audio": (self.features, self.audio_present[:, None] & valid_mask),
            "crops": (self.mouth_crops, self.crops_present & valid_mask),
            "lips": (self.lips, self.lips_present & valid_mask),
        }
        return {name: (x, there) for name, (x, there) in present.items() if x is not None}

    def to(self, device: Any) -> Batch:
        """The batch on another device; pinned memory is copied while the program goes on."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, for a GPU; the data loader calls this by its name."""
        return self._mapped(lambda tensor: tensor.pin_memory())

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            kept = value is None or isinstance(value, tuple)
            changed[field.name] = value if kept else change(value)
        return Batch(**changed)

    @property
    def num_targets(self) -> int:
        """Tokens of the batch."""
        return 0 if self.token_lengths is None else int(self.token_lengths.sum())
