"""The protocol of a noisy test, and hypotheses checked, counted and sorted into its conditions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from avsr.data.rooms import DRY
from avsr.files import read_jsonl
from avsr.metrics import Score, character_errors, sentence_errors, word_errors
from avsr.schema import VISUAL_SOURCES, ErrorCounts, Hypothesis
from avsr.spoken_numbers import spell_numbers
from avsr.text import normalise
from avsr.video_conditions import CLEAN_VIDEO

CLEAN = "none"  # noise type of clean audio
_MODALITY_ORDER = ("audio", "video", "audio_visual")


class ScoringError(ValueError):
    """Hypotheses that cannot be scored: unknown, repeated, or against another reference."""


@dataclass(frozen=True)
class ExpectedUtterance:
    """One utterance of the test list, with its raw official text."""

    utterance_id: str
    speaker_id: str
    reference: str


@dataclass(frozen=True)
class Protocol:
    """What was tested, and on what noise the systems were trained.

    ``training_noises`` and ``test_noises`` map a noise type to its files (none for a noise that is
    computed, such as white noise). ``seeds`` are those of the noise, ``snrs_db`` the levels in dB
    without clean. ``selection`` says how the checkpoint was chosen. ``video_conditions`` and
    ``reverberations`` name what pictures and rooms there were (undisturbed ones among them, where
    they were), ``preset`` the published protocol that was followed and ``faults`` those of its
    faults that were asked for. ``training_noise_known``: whether ``training_noises`` says anything
    about the systems, as it may not for other people's. ``spell_numbers``: reference and hypothesis
    are scored after :func:`avsr.spoken_numbers.spell_numbers`.
    """

    corpus: str
    split: str
    synthetic: bool
    speaker_dependent: bool
    snrs_db: tuple[float, ...]
    seeds: tuple[int, ...]
    test_noises: Mapping[str, Sequence[str]]
    training_noises: Mapping[str, Sequence[str]]
    snr_definition: Literal["utterance", "active_speech"] = "utterance"
    selection: str = ""
    notes: tuple[str, ...] = ()
    video_conditions: tuple[str, ...] = (CLEAN_VIDEO,)
    reverberations: tuple[str, ...] = (DRY,)
    preset: str | None = None
    faults: tuple[str, ...] = ()
    training_noise_known: bool = True
    spell_numbers: bool = False

    def __post_init__(self) -> None:
        for name, values in (
            ("snrs_db", self.snrs_db),
            ("seeds", self.seeds),
            ("video_conditions", self.video_conditions),
            ("reverberations", self.reverberations),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"protocol {self.corpus}: {name} {values} repeats a value")
        if not all(math.isfinite(snr) for snr in self.snrs_db):
            raise ValueError(
                f"protocol {self.corpus}: snrs_db {self.snrs_db} must be finite; clean is always in"
            )
        if CLEAN in self.test_noises:
            raise ValueError(f"protocol {self.corpus}: noise type {CLEAN!r} means clean; rename it")


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from. ``duration_s`` is seconds of decoding; hashes are SHA-256."""

    command: str
    commit: str
    created_utc: str
    hardware: str
    duration_s: float | None
    versions: Mapping[str, str]
    manifest_sha256: str | None
    data_sha256: Mapping[str, str] = field(default_factory=dict)
    checkpoint_sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """A system with the streams that it was given, and what was done to them: one curve.

    ``video_condition`` and ``reverberation`` as in :class:`avsr.schema.Hypothesis`.
    """

    system: str
    modality: str
    visual_source: str
    video_condition: str = "clean"
    reverberation: str = DRY

    @property
    def order(self) -> tuple[int, int, str, tuple[bool, str], tuple[bool, str]]:
        """Sort key: audio, video, audio-visual; visual source; name; what is undisturbed first."""
        return (
            _MODALITY_ORDER.index(self.modality),
            VISUAL_SOURCES.index(self.visual_source),
            self.system,
            (self.video_condition != CLEAN_VIDEO, self.video_condition),
            (self.reverberation != DRY, self.reverberation),
        )


@dataclass(frozen=True)
class Cell:
    """All mixtures of one arm at one noise type and level; the lists run parallel."""

    arm: Arm
    noise_type: str
    snr_db: float | None
    words: tuple[Score, ...]
    characters: tuple[Score, ...]
    sentences: tuple[Score, ...]
    hypotheses: tuple[str | None, ...]  # None: there was no hypothesis


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are resampled."""

    seed: int = 0
    num_resamples: int = 2000
    confidence: float = 0.95


def expected_by_id(expected: Iterable[ExpectedUtterance]) -> dict[str, ExpectedUtterance]:
    """The test list by utterance id.

    Raises:
        ScoringError: a repeated utterance, one without a word, or fewer than two utterances.
    """
    utterances: dict[str, ExpectedUtterance] = {}
    for one in expected:
        if one.utterance_id in utterances:
            raise ScoringError(f"test list: utterance {one.utterance_id} stands in it twice")
        if not normalise(one.reference):
            raise ScoringError(
                f"test list: utterance {one.utterance_id} has no word in its reference "
                f"{one.reference!r}; remove it from the list"
            )
        utterances[one.utterance_id] = one
    if len(utterances) < 2:
        raise ScoringError(f"test list has {len(utterances)} utterances; an interval needs two")
    return utterances


def read_cells(
    hypotheses: Path | str, utterances: Mapping[str, ExpectedUtterance], protocol: Protocol
) -> list[Cell]:
    """Checked and counted hypotheses, by arm, noise type (protocol's order, clean last), level.

    Raises:
        ScoringError: see :func:`score`.
    """
    found: dict[tuple[Arm, str, float | None], dict[tuple[str, int | None], str]] = {}
    for number, row in enumerate(read_jsonl(hypotheses), 1):
        where = f"{hypotheses}: row {number}"
        try:
            one = Hypothesis.from_row(row)
        except ValueError as error:
            raise ScoringError(f"{where}: {error}") from error
        _check(one, utterances, protocol, where)
        arm = Arm(
            one.system, one.modality, one.visual_source, one.video_condition, one.reverberation
        )
        cell = found.setdefault((arm, one.noise_type, one.snr_db), {})
        if (one.utterance_id, one.seed) in cell:
            raise ScoringError(
                f"{where}: utterance {one.utterance_id} is there twice for {arm.system}, "
                f"{arm.modality}, {arm.visual_source}, video {arm.video_condition}, room "
                f"{arm.reverberation}, noise {one.noise_type} at "
                f"{one.snr_db} dB, seed {one.seed}; decode once and keep one row"
            )
        cell[one.utterance_id, one.seed] = scored_text(one.hypothesis, protocol)
    if not found:
        raise ScoringError(f"{hypotheses}: holds no hypothesis; decode first")
    noise_order = {name: index for index, name in enumerate([*protocol.test_noises, CLEAN])}

    def order(key: tuple[Arm, str, float | None]) -> tuple[Any, ...]:
        arm, noise_type, snr_db = key
        return (*arm.order, noise_order[noise_type], math.inf if snr_db is None else snr_db)

    return [_cell(key, found[key], utterances, protocol) for key in sorted(found, key=order)]


def _check(
    one: Hypothesis,
    utterances: Mapping[str, ExpectedUtterance],
    protocol: Protocol,
    where: str,
) -> None:
    utterance = utterances.get(one.utterance_id)
    if utterance is None:
        raise ScoringError(
            f"{where}: utterance {one.utterance_id} is not one of the {len(utterances)} of the "
            "test list; score against the list that was decoded"
        )
    if one.speaker_id != utterance.speaker_id:
        raise ScoringError(
            f"{where}: utterance {one.utterance_id} has speaker {one.speaker_id!r}, the test list "
            f"says {utterance.speaker_id!r}"
        )
    if normalise(one.reference) != normalise(utterance.reference):
        raise ScoringError(
            f"{where}: utterance {one.utterance_id} has reference {one.reference!r}, the test list "
            f"{utterance.reference!r}; references stay raw, without a tokenizer's round trip"
        )
    clean = one.noise_type == CLEAN
    if clean != (one.snr_db is None) or clean != (one.seed is None):
        raise ScoringError(
            f"{where}: utterance {one.utterance_id} has noise {one.noise_type!r}, snr_db "
            f"{one.snr_db}, seed {one.seed}; clean is 'none', null, null and 0 dB is 0.0"
        )
    if not clean and not (
        one.noise_type in protocol.test_noises
        and one.snr_db in protocol.snrs_db
        and one.seed in protocol.seeds
    ):
        raise ScoringError(
            f"{where}: utterance {one.utterance_id} in noise {one.noise_type!r} at {one.snr_db} "
            f"dB, seed {one.seed} is outside the protocol: {', '.join(protocol.test_noises)}; "
            f"{protocol.snrs_db} dB; seeds {protocol.seeds}"
        )
    seen = one.visual_source == "none" or one.video_condition in protocol.video_conditions
    if not seen or one.reverberation not in protocol.reverberations:
        raise ScoringError(
            f"{where}: utterance {one.utterance_id} with video {one.video_condition!r} in room "
            f"{one.reverberation!r} is outside the protocol: "
            f"{', '.join(protocol.video_conditions)}; {', '.join(protocol.reverberations)}"
        )


def scored_text(text: str, protocol: Protocol) -> str:
    """A text as it is scored: normalised, numbers spelled out where the protocol says so."""
    plain = normalise(text)
    return spell_numbers(plain) if protocol.spell_numbers else plain


@lru_cache(maxsize=200_000)
def _count(reference: str, hypothesis: str) -> tuple[ErrorCounts, ErrorCounts, ErrorCounts]:
    texts = {"reference": reference, "hypothesis": hypothesis}
    return word_errors(**texts), character_errors(**texts), sentence_errors(**texts)


def _cell(
    key: tuple[Arm, str, float | None],
    found: Mapping[tuple[str, int | None], str],
    utterances: Mapping[str, ExpectedUtterance],
    protocol: Protocol,
) -> Cell:
    arm, noise_type, snr_db = key
    seeds: tuple[int | None, ...] = (None,) if noise_type == CLEAN else tuple(protocol.seeds)
    mixtures = [(name, seed) for name in sorted(utterances) for seed in seeds]
    counted: tuple[list[Score], ...] = ([], [], [])
    for name, seed in mixtures:
        one = utterances[name]
        counts = _count(scored_text(one.reference, protocol), found.get((name, seed), ""))
        for scores, errors in zip(counted, counts, strict=True):
            scores.append(Score(name, one.speaker_id, noise_type, snr_db, seed, errors))
    words, characters, sentences = (tuple(scores) for scores in counted)
    texts = tuple(found.get(mixture) for mixture in mixtures)
    return Cell(arm, noise_type, snr_db, words, characters, sentences, texts)
