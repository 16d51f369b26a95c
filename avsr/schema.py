"""The small frozen records in which data travels between the parts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Modality = Literal["audio", "video", "audio_visual"]
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
class Hypothesis:
    """One decoded utterance in one condition: a row of ``hypotheses.jsonl``.

    ``snr_db`` is ``None`` for clean audio (0.0 is 0 dB); ``seed`` is the seed of the noise, ``None``
    where there is none; ``noise_type`` is ``"none"`` for clean audio.
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
        missing, unknown = sorted(names - row.keys()), sorted(row.keys() - names)
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
