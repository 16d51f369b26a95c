"""BIWI 3D audiovisual corpus (Fanelli, Gall, Romsdorfer, Weise, Van Gool, 2010), prepared.

14 speakers, 40 sentences each, 25 fps, 23370 vertices, head pose removed. It can no longer be
obtained; this serves people who hold a copy. Layout read:

    <root>/vertices_npy/<speaker>_eNN.npy  wav/<speaker>_eNN.wav  templates.pkl

which CodeTalker's preprocessing writes. It divides every frame by the square root of its surface
and centres it on its own mean, so the files have no unit, and a face moves up as its jaw goes down.
Millimetres come from ``--config.mm-per-unit``, or for each speaker from the release's own scans,
``<root>/rigid_scans/<speaker>.obj``. Protocol of FaceFormer: train, valid and test A are six
speakers, test B the eight others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avsr.corpora.clips import CorpusError
from avsr.files import read_audio
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
from learn2talk.mesh_files import read_mesh
from learn2talk.region_files import WIDTH_MM
from learn2talk.topologies import NORMALISED, known_face

TOPOLOGY, NUM_VERTICES, FPS = "biwi_23370", 23370, 25.0
SEEN = ("F2", "F3", "F4", "M3", "M4", "M5")
UNSEEN = ("F1", "F5", "F6", "F7", "F8", "M1", "M2", "M6")
NUM_SENTENCES = 40
LAST_SENTENCE = {"train": 32, "valid": 36, "test": 40}
SHAPE_TOLERANCE = 0.02  # spread of a scan's size over its template's, vertex by vertex
TestSet = Literal["a", "b"]


@dataclass(frozen=True)
class BiwiConfig:
    """What decides the numbers in a prepared BIWI."""

    test: TestSet = "a"
    """Test A (speakers that were trained on) or test B (the others)."""
    mm_per_unit: float | None = None
    """Millimetres of the files' unit; None = from rigid_scans, or 1 where they are millimetres."""
    max_difference_s: float = 0.5
    """How much longer motion or sound may be than the other, seconds; the rest is cut."""
    texts: Path | None = None
    """Table with the columns sequence and text, tab-separated; None = texts stay empty."""

    def __post_init__(self) -> None:
        if self.test not in ("a", "b"):
            raise CorpusError(f"BIWI has test set 'a' and 'b', not {self.test!r}")
        if self.mm_per_unit is not None and self.mm_per_unit <= 0:
            raise CorpusError(f"mm_per_unit is {self.mm_per_unit}; give more than 0")
        if self.max_difference_s < 0:
            raise CorpusError(f"max_difference_s is {self.max_difference_s}; give 0 or more")


def published(test: TestSet = "a") -> list[tuple[str, str, str | None]]:
    """Every published sequence: name, speaker, and split (``None``: in none of them)."""
    rows: list[tuple[str, str, str | None]] = []
    for speaker in (*SEEN, *UNSEEN):
        for number in range(1, NUM_SENTENCES + 1):
            split = next(name for name, last in LAST_SENTENCE.items() if number <= last)
            tested = split == "test" and (speaker in SEEN) == (test == "a")
            used = tested or (speaker in SEEN and split != "test")
            rows.append((f"{speaker}_e{number:02d}", speaker, split if used else None))
    return rows


def find_copy(root: Path | str, test: TestSet = "a") -> ScanCopy:
    """Everything under ``root``.

    Raises:
        CorpusError: a folder of the layout is missing.
    """
    root = Path(root)
    names = {name: (speaker, split) for name, speaker, split in published(test)}
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


def sizes(
    root: Path, templates: Mapping[str, NDArray[np.float64]], config: BiwiConfig
) -> tuple[dict[str, float], str]:
    """Millimetres of a unit for each speaker, and where they come from.

    Raises:
        CorpusError: neither configured nor in the copy, or a scan is of another face.
    """
    if config.mm_per_unit is not None:
        return dict.fromkeys(templates, config.mm_per_unit), "--config.mm-per-unit"
    low, high = WIDTH_MM
    if all(low <= float(np.ptp(face[:, 0])) <= high for face in templates.values()):
        return dict.fromkeys(templates, 1.0), "the files are in mm"
    scans = {speaker: root / "rigid_scans" / f"{speaker}.obj" for speaker in templates}
    absent = [path for path in scans.values() if not path.is_file()]
    if absent:
        raise CorpusError(
            f"{root}: its templates have no known unit and {absent[0]} is not there; give the "
            "release's rigid_scans, or --config.mm-per-unit (one user measured 174 to 201 mm for "
            "FaceFormer's files: its issue 45)"
        )
    return {s: _size(path, templates[s]) for s, path in scans.items()}, "rigid_scans"


def _size(path: Path, template: NDArray[np.float64]) -> float:
    """How many times a scan is as large as its normalised template, wherever it is turned to."""
    scan = read_mesh(path, num_vertices=NUM_VERTICES).vertices
    far = np.linalg.norm(scan - scan.mean(axis=0), axis=1)
    near = np.linalg.norm(template - template.mean(axis=0), axis=1)
    size = float(np.sqrt((far**2).sum() / (near**2).sum()))
    spread = float(np.abs(far - size * near).mean() / far.mean())
    if not spread <= SHAPE_TOLERANCE:
        raise CorpusError(
            f"{path}: is not the face of templates.pkl at another size (they differ by "
            f"{100 * spread:.1f} %); give the release's own scan or --config.mm-per-unit"
        )
    return size


def open_copy(
    root: Path | str,
    *,
    face_folder: Path | str | None = None,
    allow_missing: int = 0,
    config: BiwiConfig | None = None,
    say: Callable[[str], None] = print,
) -> ScanCorpus:
    """Check a copy and give it as a corpus.

    Args:
        root: folder of BIWI.
        face_folder: folder of BIWI.ply, lve.txt and fdd.txt (`learn2talk.topologies`); ``None`` =
            ``root``.
        allow_missing: sequences that may be missing or too many.
        config: see `BiwiConfig`. say: receives the lines for the user.

    Raises:
        CorpusError or ValueError: the copy is refused, or a file of it cannot be read.
    """
    root, config = Path(root), config or BiwiConfig()
    copy = find_copy(root, config.test)
    for line in check_copy(copy, "BIWI", allow_missing):
        say(line)
    templates = read_templates(root / "templates.pkl", NUM_VERTICES)
    mm_per_unit, source = sizes(root, templates, config)
    # The published neutral mesh is of the templates' make; it only lends triangles and regions.
    typical = float(np.median(list(mm_per_unit.values())))
    return ScanCorpus(
        name="biwi",
        copy=copy,
        face=known_face(TOPOLOGY, face_folder or root, mm_per_unit=typical),
        templates=templates,
        mm_per_unit=mm_per_unit,
        unit=NORMALISED,
        fps=FPS,
        resampler="low_pass",
        max_difference_s=config.max_difference_s,
        texts=read_texts(config.texts, copy.expected),
        info={
            "speaker_dependent": config.test == "a",
            "test_set": config.test,
            "mm_per_unit_from": source,
        },
    )


def prepare(
    root: Path | str,
    out: Path | str,
    *,
    face_folder: Path | str | None = None,
    allow_missing: int = 0,
    check_only: bool = False,
    config: BiwiConfig | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Check a copy of BIWI, then write it as a prepared corpus; resumable.

    Args: as `open_copy`; out: folder to write. check_only: stop after the check.
    """
    corpus = open_copy(
        root, face_folder=face_folder, allow_missing=allow_missing, config=config, say=say
    )
    if check_only:
        say(f"BIWI: {root} is accepted, test {corpus.info['test_set']}")
        return Path(out)
    return prepare_scans(corpus, out, say=say)
