"""Noise for a corpus that brings none: babble of its training speakers, recordings of the user.

Everything lies in one folder, so that a noise config needs one root:

    <folder>/talkers/<speaker>/<n>.wav    utterances of training speakers, for babble
    <folder>/recorded/<name>.<suffix>     copies of the user's recordings
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np

from avsr.data.manifest import decode_array, load_prepared
from avsr.data.noise_bank import NoiseConfig, NoiseSplit, TalkerFile, recorded_under, split_talkers
from avsr.files import write_atomically, write_wav

TALKERS = 60  # speakers lent to babble, at most
UTTERANCES = 4  # of each, at most
RECORDINGS = 40  # noise files taken, at most: each is a noise type and lies in memory
SOUND_SUFFIXES = (".wav", ".flac", ".ogg")


def _drawn(names: list[str], count: int) -> list[str]:
    """``count`` names in the order of a hash: the same on every machine."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count]


def write_talkers(prepared: Path, folder: Path) -> Path:
    """Utterances of some training speakers as WAV files; those that are there are left alone.

    Raises:
        ValueError: fewer than three training speakers: one each for training, validation and test.
    """
    rows = load_prepared(prepared, "train")
    places: dict[str, list[int]] = {}
    for place, speaker in enumerate(rows["speaker_id"]):
        places.setdefault(speaker, []).append(place)
    if len(places) < 3:
        raise ValueError(
            f"{prepared}: {len(places)} training speakers; babble needs 3 or more, as no voice may "
            "serve training, validation and test at once"
        )
    sounds = rows.select_columns(["audio"])
    for speaker in _drawn(list(places), TALKERS):
        for number, place in enumerate(places[speaker][:UTTERANCES]):
            path = folder / "talkers" / speaker.replace("/", "__") / f"{number}.wav"
            if not path.exists():
                waveform = decode_array(sounds[place]["audio"])
                write_wav(path, waveform / max(1.0, float(np.abs(waveform).max())))
    return folder


def copy_recordings(source: Path, folder: Path) -> Path:
    """Copies of at most 40 sound files under ``source``, named by their path there.

    ``source`` may be MUSAN's ``noise``, DEMAND, or any folder of recordings, nested as it likes.

    Raises:
        ValueError: fewer than three sound files.
    """
    found = {
        str(path.relative_to(source)): path
        for path in sorted(source.rglob("*"))
        if path.suffix.lower() in SOUND_SUFFIXES and path.is_file()
    }
    if len(found) < 3:
        raise ValueError(
            f"{source}: {len(found)} sound files ({', '.join(SOUND_SUFFIXES)}); noise needs 3 or "
            "more, one each for training, validation and test"
        )
    into = folder / "recorded"
    into.mkdir(parents=True, exist_ok=True)
    for name in _drawn(list(found), RECORDINGS):
        target = into / name.replace(os.sep, "-")
        if not target.exists():
            with write_atomically(target) as temporary:
                shutil.copyfile(found[name], temporary)
    return folder


def noise_of_corpus(folder: Path) -> NoiseConfig:
    """Noise by split of a folder that the functions above filled; no source serves two splits.

    Train, valid and test get 60, 20 and 20 % of the talkers and of the recordings, at least one
    each. Training hears white and pink noise, too; pink noise is in the test. A folder without
    talkers gives no babble.
    """
    pool = [(path, path.parent.name) for path in sorted(folder.glob("talkers/*/*.wav"))]
    people = len({speaker for _, speaker in pool})
    held_out = max(1, people // 5)
    talkers: tuple[tuple[TalkerFile, ...], ...] = ((), (), ())
    if people:
        talkers = split_talkers(pool, folder, (people - 2 * held_out, held_out, held_out))
    recordings = (folder / "recorded").is_dir()
    recorded = recorded_by_split(folder) if recordings else ((), (), ())

    def part(index: int, *computed: str) -> NoiseSplit:
        return NoiseSplit(
            types=(*computed, *babble_types(talkers[index]), *map(_stem, recorded[index])),
            recorded=recorded[index],
            talkers=talkers[index],
        )

    return NoiseConfig(
        root=folder, train=part(0, "white", "pink"), valid=part(1, "white"), test=part(2, "pink")
    )


def recorded_by_split(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Recordings of train, valid and test, by a hash of their names."""
    found = recorded_under(folder / "recorded", folder)
    order = [found[name] for name in _drawn(list(found), len(found))]
    held_out = max(1, len(order) // 5)
    return (
        tuple(sorted(order[2 * held_out :])),
        tuple(sorted(order[:held_out])),
        tuple(sorted(order[held_out : 2 * held_out])),
    )


def babble_types(talkers: tuple[TalkerFile, ...]) -> tuple[str, ...]:
    """Babble of 2, 4 and 8 voices, as far as there are recordings."""
    return tuple(f"babble_{count}" for count in (2, 4, 8) if count <= len(talkers))


def _stem(path: str) -> str:
    return Path(path).stem
