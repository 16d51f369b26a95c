"""Where noise comes from: sources split for training, validation and test, and their segments.

A segment is a function of (noise type, utterance id, seed, length) alone, whatever was asked for
before it and in which process.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from avsr import noise
from avsr.files import read_audio, sha256_file
from avsr.noise import SpeechLevels, stable_hash
from avsr.units import SAMPLE_RATE_HZ

Split = Literal["train", "valid", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
COMPUTED_TYPES: tuple[str, ...] = ("white", "pink", "speech_shaped")
CLEAN = "none"  # noise type of a clean row, as in avsr.schema.Hypothesis
POOL_PART_S = 10.0  # a babble pool changes its talkers this often


@dataclass(frozen=True)
class TalkerFile:
    """A recording of one person, for babble: path under the config's root, and who speaks."""

    path: str
    speaker: str


@dataclass(frozen=True)
class NoiseSplit:
    """Noise of one split.

    Fields:
        types: noise types in use: ``white``, ``pink``, ``speech_shaped``, ``one_talker``,
            ``babble_<N>``, or the stem of a recorded file (``coffee-shop``).
        recorded: recorded ambience, paths under the root; the stem is the type.
        talkers: recordings for babble and the single talker.
        pools: types of many recordings, such as all music of a collection: name to paths. Each
            mixture draws one of them.
    """

    types: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()
    talkers: tuple[TalkerFile, ...] = ()
    pools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stems = [*(Path(path).stem for path in self.recorded), *self.pools]
        repeated = sorted({stem for stem in stems if stems.count(stem) > 1})
        reserved = sorted(stem for stem in stems if _is_made(stem))
        if repeated or reserved:
            raise ValueError(
                f"recorded noise named {', '.join(repeated + reserved)} would be ambiguous; "
                "rename the file: each stem once, and none of the words of made noise"
            )
        for noise_type in self.types:
            voices = talkers_in(noise_type)
            if voices > len(self.talkers):
                raise ValueError(
                    f"noise type {noise_type} needs {voices} recordings of talkers but the split "
                    f"has {len(self.talkers)}; add talkers or take the type away"
                )
            if not voices and noise_type not in COMPUTED_TYPES and noise_type not in stems:
                raise ValueError(
                    f"noise type {noise_type!r} is not one of {', '.join(COMPUTED_TYPES)}, "
                    f"one_talker, babble_<N>, {', '.join(stems) or '(no recorded noise)'}"
                )


@dataclass(frozen=True)
class NoiseConfig:
    """Which noise belongs to which split; paths are POSIX paths under ``root``.

    ``speech_spectrum`` is :func:`avsr.noise.long_term_spectrum` of the **training** speech, needed
    by ``speech_shaped`` only.
    """

    root: Path
    train: NoiseSplit = field(default_factory=NoiseSplit)
    valid: NoiseSplit = field(default_factory=NoiseSplit)
    test: NoiseSplit = field(default_factory=NoiseSplit)
    speech_spectrum: tuple[float, ...] | None = None
    places: Mapping[str, Path] = field(default_factory=dict)
    """Folders elsewhere, by the first part of the paths that lie in them: ``musan/noise/a.wav``
    is ``places["musan"] / "noise/a.wav"``. So a manifest does not hold this machine's folders."""

    def file(self, path: str) -> Path:
        """Where a noise file lies on this machine."""
        first, _, rest = path.partition("/")
        return self.places[first] / rest if first in self.places else self.root / path

    def __post_init__(self) -> None:
        shaped = [name for name in SPLITS if "speech_shaped" in self.of(name).types]
        if shaped and self.speech_spectrum is None:
            raise ValueError(
                f"speech_shaped noise of {', '.join(shaped)} needs speech_spectrum; "
                "pass avsr.noise.long_term_spectrum of the training speech"
            )

    def of(self, split: str) -> NoiseSplit:
        """The noise of a split.

        Raises:
            ValueError: not one of ``SPLITS``.
        """
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        if split not in parts:
            raise ValueError(f"noise split {split!r} is not one of {', '.join(parts)}")
        return parts[split]


def talkers_in(noise_type: str) -> int:
    """How many talkers a noise type needs: N of ``babble_N`` (N from 2), 1 of ``one_talker``, or 0.

    Raises:
        ValueError: ``babble_`` without a whole number from 2 on.
    """
    if noise_type == "one_talker":
        return 1
    if not noise_type.startswith("babble"):
        return 0
    count = noise_type.removeprefix("babble_")
    if not count.isdecimal() or int(count) < 2 or str(int(count)) != count:
        raise ValueError(
            f"noise type {noise_type!r} is no babble of N talkers; write babble_8, with N from 2 "
            "(one interfering talker is called one_talker)"
        )
    return int(count)


def _is_made(name: str) -> bool:
    return name in (*COMPUTED_TYPES, "one_talker", CLEAN) or name.startswith("babble")


def is_ill_posed(noise_type: str, snr_db: float | None) -> bool:
    """One interfering talker at or below 0 dB: nothing in the sound says whom to transcribe."""
    return noise_type == "one_talker" and snr_db is not None and snr_db <= 0


def split_talkers(
    pool: Iterable[tuple[Path | str, str]], root: Path | str, counts: tuple[int, int, int]
) -> tuple[tuple[TalkerFile, ...], tuple[TalkerFile, ...], tuple[TalkerFile, ...]]:
    """Talkers of train, valid and test: whole speakers, in the order of a hash of their id.

    Args:
        pool: (path, speaker) of each recording, e.g. ``speechocean_pool(...)``.
        root: folder that the paths are written relative to.
        counts: number of speakers for train, valid and test.

    Raises:
        ValueError: the pool has fewer speakers, or a file outside ``root``.
    """
    files = [(_under(Path(path), Path(root)), speaker) for path, speaker in pool]
    speakers = sorted(
        {speaker for _, speaker in files}, key=lambda name: stable_hash("split", name)
    )
    if min(counts) < 0 or sum(counts) > len(speakers):
        raise ValueError(
            f"cannot give {counts} speakers to train, valid and test: the pool has "
            f"{len(speakers)}; ask for fewer"
        )
    parts, start = [], 0
    for count in counts:
        chosen = set(speakers[start : start + count])
        start += count
        parts.append(tuple(TalkerFile(p, name) for p, name in sorted(files) if name in chosen))
    return parts[0], parts[1], parts[2]


def _under(path: Path, root: Path) -> str:
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise ValueError(
            f"{path}: noise file is not under {root}; choose a root above it"
        ) from None


def recorded_under(folder: Path | str, root: Path | str) -> dict[str, str]:
    """Recorded ambience of a folder: noise type (the stem) to path under ``root``.

    Raises:
        ValueError: not a folder, or no sound file in it.
    """
    folder = Path(folder)
    suffixes = {".flac", ".wav", ".ogg"}
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    recorded = {path.stem: _under(path, Path(root)) for path in found if path.suffix in suffixes}
    if not recorded:
        raise ValueError(
            f"{folder}: no recorded noise ({', '.join(sorted(suffixes))}) here; check the path"
        )
    return recorded


def check_disjoint(config: NoiseConfig) -> None:
    """Assure that no noise file, file content or babble speaker serves two splits.

    Raises:
        ValueError: something is shared; the message lists it with its splits. Also a missing file.
    """
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for split in SPLITS:
        part = config.of(split)
        pooled = [path for files in part.pools.values() for path in files]
        paths = [*part.recorded, *pooled, *(talker.path for talker in part.talkers)]
        for path in paths:
            full = config.file(path)
            if not full.is_file():
                raise ValueError(f"{full}: no such noise file ({split}); check the noise config")
            seen.setdefault(("file", str(full.resolve())), {})[split] = path
            seen.setdefault(("content", sha256_file(full)), {})[split] = path
        for talker in part.talkers:
            seen.setdefault(("speaker", talker.speaker), {})[split] = talker.speaker
    shared = [(kind, users) for (kind, _), users in seen.items() if len(users) > 1]
    if shared:
        listed = "; ".join(
            f"{kind} " + ", ".join(f"{name} in {split}" for split, name in users.items())
            for kind, users in shared[:5]
        )
        raise ValueError(
            f"{len(shared)} noise sources serve more than one split: {listed}; "
            "give each file and speaker to one split only (a long file is not cut up)"
        )


@dataclass(frozen=True)
class NoiseFileUse:
    """A file that a mixture uses: path under the root, content hash, first sample used."""

    path: str
    sha256: str
    offset: int


class NoiseBank:
    """The noise of one split, with what was read and rendered kept in memory.

    Args:
        config: the noise config; call :func:`check_disjoint` on it once.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        cached_files: how many recordings stay in memory.
        pool_s: seconds of each noise type rendered ahead for :func:`random_mixture`.
        crossfade: samples of the seam where a recording is too short; 0 loops it hard.
        from_start: recordings always begin at their first sample, whatever the utterance.
    """

    def __init__(
        self,
        config: NoiseConfig,
        split: str,
        *,
        cached_files: int = 600,
        pool_s: float = 120.0,
        crossfade: int = noise.CROSSFADE_SAMPLES,
        from_start: bool = False,
    ) -> None:
        self.crossfade, self.from_start = crossfade, from_start
        self.config, self.split, self.part = config, split, config.of(split)
        self.pool_samples = round(pool_s * SAMPLE_RATE_HZ)
        self._cached_files = cached_files
        self._audio: dict[str, tuple[np.ndarray, SpeechLevels]] = {}
        self._hashes: dict[str, str] = {}
        self._pools: dict[str, np.ndarray] = {}
        self._pool_powers: dict[str, float] = {}
        self._recorded = {Path(path).stem: (path,) for path in self.part.recorded}
        self._by_speaker: dict[str, list[str]] = {}
        for talker in self.part.talkers:
            self._by_speaker.setdefault(talker.speaker, []).append(talker.path)

    @property
    def types(self) -> tuple[str, ...]:
        """Noise types of this split."""
        return self.part.types

    def matched(self, noise_type: str) -> bool:
        """Whether training uses this type of noise too."""
        return noise_type in self.config.train.types

    def sha256(self, path: str) -> str:
        """Content hash of a noise file, read once."""
        if path not in self._hashes:
            self._hashes[path] = sha256_file(self.config.file(path))
        return self._hashes[path]

    def _read(self, path: str) -> tuple[np.ndarray, SpeechLevels]:
        if path not in self._audio:
            while len(self._audio) >= self._cached_files:
                self._audio.pop(next(iter(self._audio)))
            waveform = read_audio(self.config.file(path))
            try:
                self._audio[path] = waveform, noise.measure_speech(waveform)
            except ValueError as error:
                raise ValueError(f"{self.config.file(path)}: {error}") from error
        return self._audio[path]

    def segment(
        self, noise_type: str, utterance_id: str, seed: int, num_samples: int
    ) -> tuple[np.ndarray, tuple[NoiseFileUse, ...]]:
        """The noise for one utterance, a function of the arguments only; level as it comes.

        Returns:
            float64 (num_samples,) and the files it was made from (none where it is computed).

        Raises:
            ValueError: a noise type that this split does not list.
        """
        if noise_type not in self.types:
            raise ValueError(
                f"noise type {noise_type!r} is not in the {self.split} split, which has "
                f"{', '.join(self.types) or 'none'}"
            )
        key = stable_hash(utterance_id, noise_type, seed)
        voices = talkers_in(noise_type)
        if voices:
            return self._talking(voices, key, num_samples)
        files = self._recorded.get(noise_type) or self.part.pools.get(noise_type)
        if files:
            path = files[stable_hash(key, "file") % len(files)]
            waveform, _ = self._read(path)
            # A start that leaves room needs no seam.
            room = waveform.size - num_samples + 1
            length = room if room >= 1 else waveform.size
            offset = noise.offset_for(utterance_id, noise_type, seed, length)
            offset = 0 if self.from_start else offset
            use = NoiseFileUse(path, self.sha256(path), offset)
            return noise.fit_length(waveform, num_samples, offset, self.crossfade), (use,)
        return self._computed(noise_type, np.random.default_rng(key), num_samples), ()

    def _computed(
        self, noise_type: str, generator: np.random.Generator, num_samples: int
    ) -> np.ndarray:
        if noise_type == "white":
            return noise.white_noise(num_samples, generator)
        if noise_type == "pink":
            return noise.pink_noise(num_samples, generator)
        return noise.speech_shaped_noise(
            num_samples, np.asarray(self.config.speech_spectrum), generator
        )

    def _talking(
        self, voices: int, key: int, num_samples: int
    ) -> tuple[np.ndarray, tuple[NoiseFileUse, ...]]:
        """Voices as different as the split allows, each going on with further files of its own."""
        speakers = sorted(self._by_speaker, key=lambda name: stable_hash(key, name))
        queues = {
            name: sorted(self._by_speaker[name], key=lambda path: stable_hash(key, path))
            for name in speakers[:voices]
        }
        if len(speakers) < voices:  # more voices than speakers: their other files
            queues = self._queues_for_few(speakers, voices, key)
        talkers, offsets, levels, uses = [], [], [], []
        for queue in queues.values():
            waveform, first_level = self._read(queue[0])
            offset = stable_hash(key, queue[0], "offset") % waveform.size
            offset = 0 if self.from_start else offset
            files, parts = [NoiseFileUse(queue[0], self.sha256(queue[0]), offset)], [waveform]
            remaining = num_samples + offset - waveform.size
            for path in queue[1:]:
                if remaining <= 0:
                    break
                more, level = self._read(path)
                parts.append(more * math.sqrt(first_level.active_power / level.active_power))
                files.append(NoiseFileUse(path, self.sha256(path), 0))
                remaining -= more.size - noise.CROSSFADE_SAMPLES
            talkers.append(noise.join(parts))
            offsets.append(offset)
            levels.append(first_level)
            uses.extend(files)
        voices_together = noise.babble(
            talkers, num_samples, offsets, levels=levels, crossfade=self.crossfade
        )
        return voices_together, tuple(uses)

    def _queues_for_few(self, speakers: list[str], voices: int, key: int) -> dict[str, list[str]]:
        paths = sorted(
            (talker.path for talker in self.part.talkers), key=lambda path: stable_hash(key, path)
        )
        return {path: [path] for path in paths[:voices]}

    def warm(self) -> None:
        """Render ``pool_s`` seconds of every noise type now; a second call does nothing."""
        for noise_type in self.types:
            if noise_type in self._pools:
                continue
            pool = self._pool(noise_type)
            self._pool_powers[noise_type] = noise.signal_power(pool)
            self._pools[noise_type] = pool.astype(np.float32)
            if self._pool_powers[noise_type] <= noise.SILENCE_RMS**2:
                raise ValueError(f"noise type {noise_type} is silent; replace its file")

    def _pool(self, noise_type: str) -> np.ndarray:
        """A recording whole; otherwise ``pool_s`` of noise, of babble with ever other talkers."""
        if noise_type in self._recorded:
            return self._read(self._recorded[noise_type][0])[0]
        part = self.pool_samples
        if talkers_in(noise_type):
            part = min(part, round(POOL_PART_S * SAMPLE_RATE_HZ))
        seeds = range(-(-self.pool_samples // part))
        return noise.join([self.segment(noise_type, "pool", seed, part)[0] for seed in seeds])

    def random_segment(
        self, generator: np.random.Generator, num_samples: int
    ) -> tuple[np.ndarray, str]:
        """A random stretch of a random type (types equally likely): float32 (num_samples,), type.

        Raises:
            ValueError: the split lists no noise type.
        """
        if not self.types:
            raise ValueError(f"the {self.split} split has no noise type; list some in the config")
        self.warm()
        noise_type = self.types[int(generator.integers(len(self.types)))]
        pool = self._pools[noise_type]
        room = pool.size - num_samples + 1
        if room >= 1:
            start = int(generator.integers(room))
            return pool[start : start + num_samples], noise_type
        start = int(generator.integers(pool.size))
        return noise.fit_length(pool, num_samples, start).astype(np.float32), noise_type
