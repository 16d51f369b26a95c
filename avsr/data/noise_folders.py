"""Noise from folders as they are downloaded: MUSAN, NOISEX-92, DEMAND, or recordings side by side.

MUSAN       music/ noise/ speech/ with sound files below: the types musan_music and musan_noise
            draw one of many files for each mixture; speech lends talkers to babble
NOISEX-92   babble, factory1, volvo, ... side by side: one type a file, noisex_<name>
DEMAND      DKITCHEN/ch01.wav, ...: one type a folder, demand_<name>, its first channel
any other   one type a file, by its stem
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avsr.data.noise_bank import NoiseConfig, NoiseSplit, TalkerFile, talkers_in
from avsr.data.utterance_list import UtteranceList
from avsr.files import sha256_file
from avsr.noise import stable_hash

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
PARTS = ("test", "valid", "train", "all")
NOISEX = (
    *("babble", "buccaneer1", "buccaneer2", "destroyerengine", "destroyerops", "f16"),
    *("factory1", "factory2", "hfchannel", "leopard", "m109", "machinegun", "pink", "volvo"),
    "white",
)
NOISEX_NEEDED = 4  # so many of these names make a folder NOISEX-92


@dataclass(frozen=True)
class FoundNoise:
    """What noise folders hold.

    Fields:
        kinds: type to its files, of which each mixture draws one.
        talkers: recordings of speech, for babble.
        places: first part of the paths to the folder.
        layouts: what each folder was taken for.
        passed_over: files that are not sound or could not be placed, with the reason.
    """

    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    talkers: tuple[TalkerFile, ...] = ()
    places: Mapping[str, Path] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)
    passed_over: tuple[tuple[str, str], ...] = ()


def find_noise(folders: Sequence[Path], part: str = "test") -> FoundNoise:
    """What a user's noise folders hold, by the layouts of the module's docstring.

    Args:
        folders: each under another name.
        part: of MUSAN's files, a fifth ("test", "valid") or three fifths ("train") by a hash of
            their names, or "all": who trains on one part tests on another.

    Raises:
        ValueError: no folder, an empty one, two of one name, two types of one name.
    """
    if part not in PARTS:
        raise ValueError(f"part {part!r} of the noise is not one of {', '.join(PARTS)}")
    kinds: dict[str, tuple[str, ...]] = {}
    talkers: list[TalkerFile] = []
    places: dict[str, Path] = {}
    layouts: dict[str, str] = {}
    passed: list[tuple[str, str]] = []
    for folder in folders:
        name = folder.resolve().name
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder of noise; check the path")
        if name in places:
            raise ValueError(
                f"{folder}: a second noise folder called {name}; rename one, paths begin with it"
            )
        places[name] = folder.resolve()
        files, others = _sounds(folder)
        passed += [(f"{name}/{other}", "not a sound file") for other in others]
        if not files:
            raise ValueError(
                f"{folder}: no sound file ({', '.join(SUFFIXES)}) in it; "
                "NOISEX-92's .mat files must be written as .wav first"
            )
        layout = _layout(files)
        layouts[name] = layout
        if layout == "MUSAN":
            parts = {kind: _part(files, kind, part) for kind in ("music", "noise", "speech")}
            for kind in ("music", "noise"):
                chosen = tuple(f"{name}/{file}" for file in parts[kind])
                if chosen:
                    _add(kinds, f"musan_{kind}", chosen, folder)
            # MUSAN names no speakers: each recording counts as one.
            talkers += [TalkerFile(f"{name}/{file}", file) for file in parts["speech"]]
            continue
        for file in files:
            named = _type_of(file, layout)
            if named is None:
                passed.append((f"{name}/{file}", "another channel of the same recording"))
            else:
                _add(kinds, named, (f"{name}/{file}",), folder)
    return FoundNoise(kinds, tuple(talkers), places, layouts, tuple(passed))


def _add(
    kinds: dict[str, tuple[str, ...]], kind: str, files: tuple[str, ...], folder: Path
) -> None:
    if kind in kinds:
        raise ValueError(f"{folder}: noise type {kind} is there twice; rename one of the files")
    kinds[kind] = files


def _sounds(folder: Path) -> tuple[list[str], list[str]]:
    """Sound files below a folder as POSIX paths, and the other files but read-mes and licences."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in found]
    sounds = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
    texts = {"", ".txt", ".md", ".pdf", ".tsv", ".csv", ".json"}
    others = [n for n in names if n not in sounds and Path(n).suffix.lower() not in texts]
    return sounds, others


def _layout(files: Sequence[str]) -> str:
    tops = {file.split("/")[0] for file in files if "/" in file}
    if {"music", "noise", "speech"} <= tops:
        return "MUSAN"
    if len({Path(file).stem.lower() for file in files} & set(NOISEX)) >= NOISEX_NEEDED:
        return "NOISEX-92"
    if all("/" in file and Path(file).stem.lower().startswith("ch") for file in files):
        return "DEMAND"
    return "recordings"


def _type_of(file: str, layout: str) -> str | None:
    path = Path(file)
    if layout == "NOISEX-92":
        return f"noisex_{path.stem.lower()}"
    if layout == "DEMAND":
        return f"demand_{path.parent.name}" if path.stem.lower() == "ch01" else None
    return path.stem


def _part(files: Sequence[str], kind: str, part: str) -> list[str]:
    own = [file for file in files if file.split("/")[0] == kind]
    if part == "all":
        return own
    fifths = {"test": (0,), "valid": (1,), "train": (2, 3, 4)}[part]
    return [file for file in own if stable_hash("noise", file) % 5 in fifths]


def noise_config(
    found: FoundNoise,
    types: Sequence[str],
    *,
    talkers: UtteranceList | None = None,
    speech_spectrum: tuple[float, ...] | None = None,
) -> NoiseConfig:
    """The test noise of these types, from what was found and from the talkers of a list.

    Args:
        found: of :func:`find_noise`.
        types: recorded types, ``white``, ``pink``, ``speech_shaped``, ``one_talker``, ``babble_N``.
        talkers: speech of people who are not in the test, before MUSAN's.
        speech_spectrum: of training speech, for ``speech_shaped``.

    Raises:
        ValueError: a type that there is not, or too few talkers for a babble.
    """
    voices: tuple[TalkerFile, ...] = found.talkers
    places = dict(found.places)
    if talkers is not None:
        base, files = _common(talkers)
        if base.name in places and places[base.name] != base:
            raise ValueError(f"{base}: talkers and noise come from folders of one name; rename one")
        places[base.name] = base
        voices = files
    split = NoiseSplit(
        types=tuple(types),
        talkers=voices if any(talkers_in(kind) for kind in types) else (),
        pools={kind: files for kind, files in found.kinds.items() if kind in types},
    )
    return NoiseConfig(root=Path("/"), test=split, speech_spectrum=speech_spectrum, places=places)


def _common(talkers: UtteranceList) -> tuple[Path, tuple[TalkerFile, ...]]:
    """The folder above all recordings, and these under its name."""
    paths = [entry.path.resolve() for entry in talkers if entry.path is not None]
    if not paths:
        raise ValueError(
            f"{talkers.source}: talkers must be sound files; give a table (.tsv) or a Kaldi folder"
        )
    base = paths[0].parent
    while not all(path.is_relative_to(base) for path in paths):
        base = base.parent
    files = tuple(
        TalkerFile(
            f"{base.name}/{path.relative_to(base).as_posix()}",
            entry.speaker_id or entry.utterance_id,
        )
        for path, entry in zip(paths, talkers, strict=True)
    )
    return base, files


def check_apart_from_training(
    config: NoiseConfig, training: Sequence[Path], *, allowed: bool = False
) -> list[str]:
    """Test noise whose content is also among the training noise; compares hashes, not names.

    Args:
        config: with the test's noise.
        training: files, or folders of them, that a system was trained with.
        allowed: return them instead of refusing them.

    Raises:
        ValueError: something is shared, or a training path is not there.
    """
    hashes: dict[str, Path] = {}
    for place in training:
        if not place.exists():
            raise ValueError(f"{place}: no such training noise; check the path")
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        hashes |= {sha256_file(file): file for file in inside if file.is_file()}
    shared = [
        (path, hashes[digest])
        for path in files_of_test(config)
        if (digest := sha256_file(config.file(path))) in hashes
    ]
    if shared and not allowed:
        raise ValueError(
            f"{len(shared)} noise files of the test are in training too, the first is "
            f"{shared[0][0]} = {shared[0][1]}; test with other recordings, or ask for the fault "
            "'shared_recording' to measure a published protocol as it is"
        )
    return [path for path, _ in shared]


def files_of_test(config: NoiseConfig) -> list[str]:
    """Every file that the test's noise may draw on."""
    pooled = [path for files in config.test.pools.values() for path in files]
    return [*config.test.recorded, *pooled, *(one.path for one in config.test.talkers)]
