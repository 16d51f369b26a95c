"""Builds a noisy test: utterances, noise and every mixture, before anything is decoded.

Work is shared out by utterance among processes, and nothing depends on how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsr.data.mixtures import (
    MixtureRow,
    build_mixture_manifest,
    joined_manifest,
    write_manifest,
)
from avsr.data.noise_bank import (
    COMPUTED_TYPES,
    NoiseConfig,
    talkers_in,
)
from avsr.data.noise_folders import (
    FoundNoise,
    check_apart_from_training,
    find_noise,
    noise_config,
)
from avsr.data.published_protocols import PublishedProtocol, bank_of, published
from avsr.data.rooms import DRY, RoomBank, check_room, rooms_of_folder
from avsr.data.utterance_list import UtteranceList, read_utterance_list
from avsr.files import write_json
from avsr.noise import Level, long_term_spectrum, stable_hash
from avsr.noisy_test import (
    SCHEMA,
    SCHEMA_VERSION,
    NoisyTest,
    load,
    noise_of,
    read_test_facts,
    rooms_of,
)
from avsr.shared_work import in_processes
from avsr.text import normalise
from avsr.training.run_folder import provenance

DEFAULT_SNRS_DB = (-10.0, -7.5, -5.0, -2.5, 0.0, 2.5, 5.0, 10.0)
SPECTRUM_UTTERANCES = 200  # that the speech-shaped noise is averaged over, at most


@dataclass(frozen=True)
class NoisyTestConfig:
    """What a noisy test is made of."""

    corpus: Path
    """Prepared corpus, table (.tsv: utterance_id, path, text), Kaldi folder or fairseq manifest."""
    split: str = "test"
    """Of a prepared corpus, or of a table that has the column."""
    name: str = ""
    """Of the corpus in results; empty: the name of its folder or file."""
    noise: tuple[Path, ...] = ()
    """Folders of recorded noise: MUSAN, NOISEX-92, DEMAND, or files side by side."""
    noise_part: str = "test"
    """Of MUSAN's files: test, valid, train or all."""
    noise_types: tuple[str, ...] = ()
    """white, pink, speech_shaped, one_talker, babble_N, recorded types; empty: the preset's."""
    talkers: Path | None = None
    """Speech for babble, as 'corpus': files of nobody who speaks in the test."""
    talkers_split: str = "train"
    """Of a table of talkers that has the column."""
    shaped_like: Path | None = None
    """Training speech, as 'corpus', for speech_shaped noise; without it that of the talkers."""
    snrs_db: tuple[float, ...] = ()
    """Levels in dB; empty takes the preset's, or the nine of the protocol without clean."""
    clean: bool = True
    """Whether clean speech is in the test."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the noise; three or more show how much of a difference is chance."""
    level: Level = "utterance"
    """Power of the speech that the SNR refers to."""
    rooms: Path | None = None
    """Folder of measured room responses, for the room 'measured'."""
    reverberations: tuple[str, ...] = (DRY,)
    """Rooms: none, measured, rt60_<seconds>."""
    training_noise: tuple[Path, ...] = ()
    """Noise that a tested system was trained with; a file that is in the test too is refused."""
    training_noise_types: tuple[str, ...] = ()
    """Types that a tested system was trained with, of other recordings: called matched."""
    preset: str | None = None
    """A published protocol: av_hubert, auto_avsr or muavic."""
    faults: tuple[str, ...] = ()
    """Faults of published code to have on purpose; see avsr.data.published_protocols."""
    limit: int | None = None
    """Only so many utterances, drawn by a hash of their ids; None takes all."""

    def __post_init__(self) -> None:
        for room in self.reverberations:
            check_room(room)
        if self.limit is not None and self.limit < 2:
            raise ValueError(f"limit {self.limit} must be 2 utterances or more, or left out")


def build(config: NoisyTestConfig, out: Path, *, processes: int = 1) -> NoisyTest:
    """Make the folder of a test; the same settings and files give the same manifest.

    Args:
        config: what goes in.
        out: folder to write; a test that is there already must be the same.
        processes: that share the utterances; the result does not depend on it.

    Raises:
        ValueError: an utterance without words or sound, unknown noise, silent noise, noise or
            voices that are in the test's speech or in training, a test of other settings in
            ``out``; the message names them.
    """
    utterances, chosen = _chosen(config)
    talkers = None
    if config.talkers is not None:
        talkers = read_utterance_list(config.talkers, config.talkers_split)
        _check_talkers(utterances, chosen, talkers)
    found = find_noise(config.noise, config.noise_part) if config.noise else FoundNoise()
    preset = None if config.preset is None else published(config.preset)
    types = _types(config, preset, found, talkers is not None)
    spectrum = _spectrum(config, talkers) if "speech_shaped" in types else None
    noise = noise_config(found, types, talkers=talkers, speech_spectrum=spectrum)
    shared = check_apart_from_training(
        noise, config.training_noise, allowed="shared_recording" in config.faults
    )
    rooms = RoomBank() if config.rooms is None else rooms_of_folder(config.rooms)
    snrs = config.snrs_db or _preset_levels(preset)
    facts = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "corpus": config.name or utterances.source.resolve().stem,
        "corpus_source": str(utterances.source.resolve()),
        "split": config.split,
        "list_sha256": utterances.sha256(),
        "utterances": [[u.utterance_id, u.speaker_id, u.text] for u in chosen],
        "snrs_db": list(snrs),
        "clean": config.clean,
        "seeds": list(config.seeds),
        "level": config.level,
        "reverberations": list(config.reverberations),
        "preset": config.preset,
        # Noise of the preset that the user's folders do not hold.
        "preset_left_out": [kind for kind in preset.noises if kind not in types] if preset else [],
        "faults": list(config.faults),
        "noise": _noise_facts(noise, found),
        "rooms": {name: str(path.resolve()) for name, path in rooms.measured.items()},
        "training_noise": sorted(path.name for path in config.training_noise),
        "training_noise_types": list(config.training_noise_types),
        "training_noise_known": bool(config.training_noise or config.training_noise_types),
        "shared_with_training": shared,
    }
    names = [one.utterance_id for one in chosen]
    work = _Build(facts, config.corpus)
    parts = in_processes(work, names, processes, "mix")
    manifest = joined_manifest([row for part in parts for row in part])
    facts |= {"manifest_sha256": manifest.sha256}
    test_file = out / "test.json"
    if test_file.exists():
        kept = read_test_facts(out)
        apart = [key for key in facts if kept.get(key) != facts[key]]
        if apart:
            raise ValueError(
                f"{out}: holds a test with another {', '.join(apart)}; give another --out"
            )
    write_manifest(out / "mixtures.jsonl", manifest)
    write_json(test_file, facts | {"made_by": provenance()})
    return load(out)


@dataclass(frozen=True)
class _Build:
    """Mixtures of some utterances, in a process of its own."""

    facts: dict[str, Any]
    corpus: Path

    def __call__(self, names: Sequence[str]) -> list[MixtureRow]:
        facts = self.facts
        sounds = read_utterance_list(self.corpus, facts["split"])
        rows = build_mixture_manifest(
            ((name, sounds.waveform(name)) for name in names),
            bank_of(noise_of(facts), "test", facts["faults"]),
            noise_types=facts["noise"]["types"],
            snrs_db=(*facts["snrs_db"], *([None] if facts["clean"] else [])),
            seeds=facts["seeds"],
            level=facts["level"],
            rooms=rooms_of(facts),
            reverberations=facts["reverberations"],
            faults=facts["faults"],
        ).rows
        return list(rows)


def _chosen(config: NoisyTestConfig) -> tuple[UtteranceList, list[Any]]:
    utterances = read_utterance_list(config.corpus, config.split)
    entries = list(utterances)
    if config.limit is not None:
        entries = sorted(entries, key=lambda one: stable_hash("limit", one.utterance_id))
        entries = sorted(entries[: config.limit], key=lambda one: one.utterance_id)
    mute = [one.utterance_id for one in entries if not normalise(one.text)]
    if mute:
        raise ValueError(
            f"{config.corpus}: {len(mute)} utterances have no word, the first is {mute[0]}; "
            "a word error rate needs words: take them out of the list"
        )
    return utterances, entries


def _check_talkers(
    utterances: UtteranceList, chosen: Sequence[Any], talkers: UtteranceList
) -> None:
    speakers = {one.speaker_id for one in chosen if one.speaker_id}
    both = sorted(speakers & {one.speaker_id for one in talkers})
    files = {one.path.resolve() for one in chosen if one.path is not None}
    again = [one.path for one in talkers if one.path is not None and one.path.resolve() in files]
    if both or again:
        what = f"speaker {both[0]}" if both else f"file {again[0]}"
        raise ValueError(
            f"{talkers.source}: {what} speaks in the test {utterances.source} too; babble is made "
            "of training speakers: give other talkers"
        )


def _types(
    config: NoisyTestConfig, preset: PublishedProtocol | None, found: FoundNoise, talkers: bool
) -> tuple[str, ...]:
    known = (*COMPUTED_TYPES, *found.kinds)
    spoken = bool(found.talkers) or talkers
    types = config.noise_types
    if not types and preset is not None:
        # A preset's noise that the user does not have is left out and said.
        types = tuple(
            kind for kind in preset.noises if kind in known or (spoken and talkers_in(kind))
        )
    if not types:
        lacks = "" if spoken else " (babble_N and one_talker need --talkers or MUSAN)"
        raise ValueError(
            f"no noise type chosen; there are {', '.join(known)}, babble_N, one_talker{lacks}: "
            "name some with --noise-types, or a published protocol with --preset"
        )
    return tuple(types)


def _preset_levels(preset: PublishedProtocol | None) -> tuple[float, ...]:
    if preset is None:
        return DEFAULT_SNRS_DB
    return tuple(level for level in preset.snrs_db if level is not None)


def _spectrum(config: NoisyTestConfig, talkers: UtteranceList | None) -> tuple[float, ...]:
    speech = talkers
    if config.shaped_like is not None:
        speech = read_utterance_list(config.shaped_like, "train")
    if speech is None:
        raise ValueError(
            "speech_shaped noise needs the spectrum of training speech: --shaped-like or --talkers"
        )
    names = sorted(speech.places, key=lambda name: stable_hash("spectrum", name))
    heard = (speech.waveform(name) for name in names[:SPECTRUM_UTTERANCES])
    # Rounded, so that the last bits of another machine's FFT do not change the noise.
    return tuple(float(f"{power:.6g}") for power in long_term_spectrum(heard))


def _noise_facts(noise: NoiseConfig, found: FoundNoise) -> dict[str, Any]:
    part = noise.test
    return {
        "types": list(part.types),
        "pools": {kind: list(files) for kind, files in part.pools.items()},
        "talkers": [[one.path, one.speaker] for one in part.talkers],
        "speech_spectrum": None if noise.speech_spectrum is None else list(noise.speech_spectrum),
        "places": {name: str(path) for name, path in noise.places.items()},
        "layouts": dict(found.layouts),
        "passed_over": [list(one) for one in found.passed_over],
    }
