"""VOCASET (Cudeiro, Bolkart, Laidlaw, Ranjan, Black, CVPR 2019): a copy to a prepared corpus.

12 speakers, 40 sentences each, scanned at 60 fps and registered to FLAME's 5023 vertices in metres,
head pose removed. It needs a registration; this serves people who hold a copy. Layouts read:

    <root>/vertices_npy/<speaker>_sentenceNN.npy  wav/<speaker>_sentenceNN.wav  templates.pkl
    <root>/data_verts.npy  raw_audio_fixed.pkl  subj_seq_to_idx.pkl  templates.pkl

The first is what FaceFormer's preprocessing writes, the second the release itself. Speakers 8/2/2
and sentences as FaceFormer and CodeTalker use them. The release lacks two sequences (`ABSENT`);
public training logs report still fewer (314 of 320 for training): where a copy lacks more, they are
named, and ``--allow-missing`` accepts them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.corpora.clips import CorpusError, skip
from avsr.files import read_audio, resample
from avsr.units import SAMPLE_RATE_HZ
from learn2talk.corpora.scan_copy import (
    ScanCopy,
    ScanSequence,
    check_copy,
    list_pairs,
    read_templates,
    read_texts,
    read_vertices,
)
from learn2talk.corpora.scan_corpus import ScanCorpus, prepare_scans
from learn2talk.plain_pickles import read_plain_pickle
from learn2talk.resampling import RESAMPLERS, Resampler
from learn2talk.topologies import known_face

TOPOLOGY, NUM_VERTICES, MM_PER_UNIT, UNIT = "flame_5023", 5023, 1000.0, "m"
SPEAKERS: dict[str, tuple[str, ...]] = {
    "train": (
        *("FaceTalk_170728_03272_TA", "FaceTalk_170904_00128_TA", "FaceTalk_170725_00137_TA"),
        *("FaceTalk_170915_00223_TA", "FaceTalk_170811_03274_TA", "FaceTalk_170913_03279_TA"),
        *("FaceTalk_170904_03276_TA", "FaceTalk_170912_03278_TA"),
    ),
    "valid": ("FaceTalk_170811_03275_TA", "FaceTalk_170908_03277_TA"),
    "test": ("FaceTalk_170809_00138_TA", "FaceTalk_170731_00024_TA"),
}
NUM_SENTENCES = 40
FIRST_SENTENCE = {"train": 1, "valid": 21, "test": 21}  # the others repeat what was trained on
# Not in the release's subj_seq_to_idx.pkl (github.com/TimoBolkart/voca, issue 120).
ABSENT = ("FaceTalk_170811_03274_TA_sentence24", "FaceTalk_170809_00138_TA_sentence32")
RATES = (60.0, 30.0)  # a copy has one of them
RATE_TOLERANCE = 0.1  # of the rate, for the median over the sequences


@dataclass(frozen=True)
class VocasetConfig:
    """What decides the numbers in a prepared VOCASET."""

    resampler: Resampler = "low_pass"
    """To 25 fps: low_pass, or every_second_frame (60 to 30 fps as FaceFormer, then by time)."""
    fps: float | None = None
    """Of the vertices, 60 or 30; None = found from the length of motion and sound."""
    max_difference_s: float = 0.5
    """How much longer motion or sound may be than the other, seconds; the rest is cut."""
    texts: Path | None = None
    """Table with the columns sequence and text, tab-separated; None = texts stay empty."""

    def __post_init__(self) -> None:
        if self.resampler not in RESAMPLERS:
            raise CorpusError(f"resampler {self.resampler!r} is not one of {', '.join(RESAMPLERS)}")
        if self.fps is not None and self.fps not in RATES:
            raise CorpusError(f"VOCASET's fps is {self.fps}; give 60 or 30, or leave it out")
        if self.max_difference_s < 0:
            raise CorpusError(f"max_difference_s is {self.max_difference_s}; give 0 or more")


def published() -> list[tuple[str, str, str | None]]:
    """Every published sequence: name, speaker, and split (``None``: in none of them)."""
    rows = []
    for split, speakers in SPEAKERS.items():
        for speaker in speakers:
            for number in range(1, NUM_SENTENCES + 1):
                name = f"{speaker}_sentence{number:02d}"
                if name not in ABSENT:
                    rows.append((name, speaker, split if number >= FIRST_SENTENCE[split] else None))
    return rows


def find_copy(root: Path | str) -> ScanCopy:
    """Everything under ``root``, in either layout.

    Raises:
        CorpusError: neither layout is there, or a file of it is missing or damaged.
    """
    root = Path(root)
    names = {name: (speaker, split) for name, speaker, split in published()}
    if (root / "vertices_npy").is_dir():
        return list_pairs(
            root / "vertices_npy",
            root / "wav",
            list(names),
            lambda name, motion, sound: ScanSequence(
                name,
                *names[name],
                lambda: read_vertices(motion),
                lambda: read_audio(sound),
                motion,
            ),
        )
    if (root / "data_verts.npy").is_file():
        return _release(root, names)
    raise CorpusError(
        f"{root}: has neither vertices_npy and wav nor data_verts.npy; give the folder of VOCASET"
    )


def _release(root: Path, names: dict[str, tuple[str, str | None]]) -> ScanCopy:
    try:
        # The vertices of all sequences, several GB: read as they are used.
        everything = np.load(root / "data_verts.npy", mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CorpusError(f"{root / 'data_verts.npy'}: not a whole .npy ({error})") from error
    frames_of = _by_sequence(root / "subj_seq_to_idx.pkl")
    sounds = _by_sequence(root / "raw_audio_fixed.pkl")
    found, missing = [], []
    for name, (speaker, split) in names.items():
        lacking = [
            file
            for file, there in (("subj_seq_to_idx.pkl", frames_of), ("raw_audio_fixed.pkl", sounds))
            if name not in there
        ]
        if lacking:
            path = root / lacking[0]
            missing.append(skip(name, path, f"{path}: has no {name}; copy it again"))
            continue
        found.append(_of_release(name, speaker, split, root, everything, frames_of, sounds))
    extra = [
        skip(name, root / file, f"{root / file}: has {name}, which was not published")
        for file, there in (("subj_seq_to_idx.pkl", frames_of), ("raw_audio_fixed.pkl", sounds))
        for name in sorted(set(there) - set(names) - set(ABSENT))
    ]
    return ScanCopy(tuple(found), tuple(names), tuple(missing), tuple(extra))


def _of_release(
    name: str,
    speaker: str,
    split: str | None,
    root: Path,
    everything: NDArray[Any],
    frames_of: dict[str, Any],
    sounds: dict[str, Any],
) -> ScanSequence:
    def vertices() -> NDArray[Any]:
        rows = frames_of[name]
        order = sorted(rows)
        if not order or order != list(range(len(order))):
            raise CorpusError(
                f"{root}: {name} lacks frames, {len(order)} of {max(order, default=-1) + 1}"
            )
        ids = np.array([rows[frame] for frame in order], dtype=np.int64)
        if ids.min() < 0 or ids.max() >= len(everything):
            raise CorpusError(
                f"{root / 'data_verts.npy'}: has {len(everything)} frames, {name} needs "
                f"{ids.max() + 1}; copy it again"
            )
        return np.asarray(everything[ids])

    def sound() -> NDArray[np.float32]:
        entry = sounds[name]
        if not isinstance(entry, dict) or not {"audio", "sample_rate"} <= set(entry):
            raise CorpusError(f"{root / 'raw_audio_fixed.pkl'}: {name} has no audio, sample_rate")
        samples = np.asarray(entry["audio"])
        if samples.ndim != 1 or samples.dtype != np.int16 or len(samples) == 0:
            raise CorpusError(
                f"{root / 'raw_audio_fixed.pkl'}: {name} is {samples.dtype} {samples.shape}, not "
                "16-bit sound"
            )
        return resample(samples / np.float32(32768), int(entry["sample_rate"]), SAMPLE_RATE_HZ)

    return ScanSequence(name, speaker, split, vertices, sound, root / name)


def _by_sequence(path: Path) -> dict[str, Any]:
    """``{speaker: {sentence: value}}`` of a pickle as ``{speaker_sentence: value}``."""
    found = read_plain_pickle(path)
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise CorpusError(f"{path}: does not hold speakers with sentences; copy it again")
    return {
        f"{speaker}_{sentence}": value
        for speaker, sentences in found.items()
        for sentence, value in sentences.items()
    }


def frame_rate(copy: ScanCopy, config: VocasetConfig, sample: int = 8) -> float:
    """Frames a second of a copy: as configured, else what the lengths of motion and sound say.

    Raises:
        CorpusError: the lengths say neither 60 nor 30, or the resampler cannot take that rate.
    """
    rate = config.fps or _measured_rate(copy, sample)
    if config.resampler == "every_second_frame" and rate != RATES[0]:
        raise CorpusError(
            f"VOCASET: the copy has {rate:g} fps already, so that no frame may be left out; use "
            "--config.resampler low_pass"
        )
    return rate


def _measured_rate(copy: ScanCopy, sample: int) -> float:
    step = max(1, len(copy.sequences) // sample)
    some = copy.sequences[::step][:sample]
    found = [len(s.vertices()) * SAMPLE_RATE_HZ / len(s.sound()) for s in some]
    middle = float(np.median(found))
    rate = min(RATES, key=lambda r: abs(r - middle))
    if abs(rate - middle) > RATE_TOLERANCE * rate:
        raise CorpusError(
            f"VOCASET: motion has {middle:.1f} frames a second of sound (median of {len(some)}), "
            "neither 60 nor 30; give --config.fps if the sound has been cut"
        )
    return rate


def open_copy(
    root: Path | str,
    *,
    face_folder: Path | str | None = None,
    allow_missing: int = 0,
    config: VocasetConfig | None = None,
    say: Callable[[str], None] = print,
) -> ScanCorpus:
    """Check a copy and give it as a corpus: for `prepare`, or for motions at another frame rate.

    Args:
        root: folder of VOCASET.
        face_folder: folder of FLAME's mesh, masks and landmarks (`learn2talk.topologies`);
            ``None`` = ``root``.
        allow_missing: sequences that may be missing or too many.
        config: see `VocasetConfig`. say: receives the lines for the user.

    Raises:
        CorpusError or ValueError: the copy is refused, or a file of it cannot be read.
    """
    root, config = Path(root), config or VocasetConfig()
    copy = find_copy(root)
    for line in check_copy(copy, "VOCASET", allow_missing):
        say(line)
    templates = read_templates(root / "templates.pkl", NUM_VERTICES)
    return ScanCorpus(
        name="vocaset",
        copy=copy,
        face=known_face(TOPOLOGY, face_folder or root),
        templates=templates,
        mm_per_unit=dict.fromkeys(templates, MM_PER_UNIT),
        unit=UNIT,
        fps=frame_rate(copy, config),
        resampler=config.resampler,
        max_difference_s=config.max_difference_s,
        texts=read_texts(config.texts, copy.expected),
        info={"speaker_dependent": False, "sentences": dict(FIRST_SENTENCE)},
    )


def prepare(
    root: Path | str,
    out: Path | str,
    *,
    face_folder: Path | str | None = None,
    allow_missing: int = 0,
    check_only: bool = False,
    config: VocasetConfig | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Check a copy of VOCASET, then write it as a prepared corpus; resumable.

    Args: as `open_copy`; out: folder to write. check_only: stop after the check.
    """
    corpus = open_copy(
        root, face_folder=face_folder, allow_missing=allow_missing, config=config, say=say
    )
    if check_only:
        say(f"VOCASET: {root} is accepted, {corpus.fps:g} fps")
        return Path(out)
    return prepare_scans(corpus, out, say=say)
