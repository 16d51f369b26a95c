"""Corpora of scanned talking faces: motions of one mesh with their sound, and no film.

A corpus module lists its sequences; here they are checked against what was published and become a
prepared corpus (`avsr.data.manifest`), clip by clip.

What such a corpus lacks: pictures. The mouth crops of the prepared corpus are drawn from the mesh
(`learn2talk.drawing`), as those of the embedded corpus are, and ``corpus.json`` says so
(``"pictures": "drawn"``). ``video_valid`` is True in every frame: the mesh was tracked there.
The time base is the toolkit's: motion is resampled by time to 25 fps and cut, with the sound, to
whole frames; ``corpus.json`` keeps the source's rate and the resampler's name. The format has that
one rate because everything that reads it counts 640 samples and four log-mel frames to a frame.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.corpora.clips import CorpusError, file_stem, skip
from avsr.data.manifest import (
    SPLITS,
    FaceTemplates,
    PreparedUtterance,
    encode_utterance,
    is_prepared,
    load_info,
    save_prepared,
)
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_FPS
from learn2talk.corpora.part_files import read_part, write_part
from learn2talk.corpora.scan_copy import LISTED, ScanCopy, ScanSequence
from learn2talk.drawing import render_mouth_crops
from learn2talk.region_files import LoadedFace, check_width
from learn2talk.resampling import Resampler, resample_motion
from learn2talk.schema import FaceTemplate

LONGEST_MM = 80.0  # how far a vertex of a talking face may go from rest: else it is another's


@dataclass(frozen=True)
class ScanCorpus:
    """A corpus whose copy was accepted.

    name: for corpus.json. copy: its sequences. face: mesh and regions; its own vertices are not
    used. templates: speaker -> neutral face (V, 3) in the files' unit; mm_per_unit: speaker -> of
    that unit, which has a name. fps: of the files. resampler: to 25 fps. max_difference_s: how much
    longer motion or sound may be than the other. texts: sequence -> what is said; empty where
    unknown. info: more facts.
    """

    name: str
    copy: ScanCopy
    face: LoadedFace
    templates: Mapping[str, NDArray[np.float64]]
    mm_per_unit: Mapping[str, float]
    unit: str
    fps: float
    resampler: Resampler
    max_difference_s: float
    texts: Mapping[str, str]
    info: Mapping[str, Any]

    def template(self, speaker_id: str) -> FaceTemplate:
        """The neutral face of a speaker.

        Raises:
            CorpusError: there is none, or its size cannot be.
        """
        if speaker_id not in self.templates:
            raise CorpusError(f"{self.name}: speaker {speaker_id} has no template; copy it again")
        base = self.face.template
        raw, size = self.templates[speaker_id], self.mm_per_unit[speaker_id]
        check_width(raw, size, self.unit, f"{self.name}: template of {speaker_id}")
        vertices = (raw * size).astype(np.float32)
        return FaceTemplate(base.topology, vertices, base.triangles, base.regions)


def motion_of(corpus: ScanCorpus, sequence: ScanSequence, fps: float) -> NDArray[np.float32]:
    """The motion of a sequence, (T, V, 3) mm, at any frame rate by the corpus's resampler.

    Raises:
        CorpusError: another number of vertices, a value that is no number, no frame, or vertices
            that no talking face reaches (another unit, or another speaker's template).
    """
    template = corpus.template(sequence.speaker_id)
    count = len(template.vertices)
    values = sequence.vertices()
    if values.ndim not in (2, 3) or values.dtype.kind not in "fiu" or len(values) == 0:
        raise CorpusError(f"{sequence.path}: is {values.dtype} {values.shape}, not a motion")
    if values[0].size != 3 * count:
        raise CorpusError(
            f"{sequence.path}: has {values[0].size / 3:g} vertices a frame, the topology "
            f"{template.topology} has {count}"
        )
    if not np.isfinite(values).all():
        frame = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
        raise CorpusError(f"{sequence.path}: has values that are no numbers in frame {frame}")
    frames = values.reshape(len(values), count, 3).astype(np.float32)
    frames *= np.float32(corpus.mm_per_unit[sequence.speaker_id])
    farthest = float(np.abs(frames - template.vertices).max())
    if farthest > LONGEST_MM:
        raise CorpusError(
            f"{sequence.path}: a vertex goes {farthest:.0f} mm from the template of "
            f"{sequence.speaker_id}, over {LONGEST_MM:.0f}; is the unit or the template another?"
        )
    return resample_motion(frames, corpus.fps, fps, corpus.resampler)


def utterance_of(corpus: ScanCorpus, sequence: ScanSequence) -> PreparedUtterance:
    """A sequence as a row of a prepared corpus.

    Raises:
        CorpusError: see `motion_of`; motion and sound differ by more than ``max_difference_s``.
    """
    vertices = motion_of(corpus, sequence, float(VIDEO_FPS))
    audio = sequence.sound()
    motion_s, sound_s = len(vertices) / VIDEO_FPS, len(audio) / SAMPLE_RATE_HZ
    if abs(motion_s - sound_s) > corpus.max_difference_s:
        raise CorpusError(
            f"{sequence.path}: {motion_s:.2f} s of motion at {corpus.fps:g} fps and {sound_s:.2f} "
            f"s of sound differ by more than {corpus.max_difference_s:g} s; is the rate another?"
        )
    count = min(len(vertices), len(audio) // SAMPLES_PER_FRAME)
    if count == 0:
        raise CorpusError(f"{sequence.path}: is shorter than one frame of {1000 / VIDEO_FPS:g} ms")
    template = corpus.template(sequence.speaker_id)
    vertices = np.ascontiguousarray(vertices[:count])
    return PreparedUtterance(
        utterance_id=sequence.name,
        speaker_id=sequence.speaker_id,
        text=corpus.texts.get(sequence.name, ""),
        audio=np.ascontiguousarray(audio[: SAMPLES_PER_FRAME * count], dtype=np.float32),
        mouth_crops=render_mouth_crops(vertices, template),
        lips=np.ascontiguousarray(vertices[:, template.lip_ids]),
        vertices=vertices,
        video_valid=np.ones(count, dtype=bool),
        words=(),
        phones=(),
        num_frames=count,
        num_samples=SAMPLES_PER_FRAME * count,
        source=str(sequence.path.name),
    )


def prepare_scans(
    corpus: ScanCorpus, out: Path | str, *, say: Callable[[str], None] = print
) -> Path:
    """Write a corpus as a prepared folder; finished sequences wait under ``<out>/.sequences``.

    Args:
        corpus: an accepted copy. out: folder to write. say: receives the lines for the user.

    Returns:
        ``out``.

    Raises:
        CorpusError: ``out`` was finished with other settings, or no sequence of a split is usable.
    """
    out = Path(out)
    facts = {
        "name": corpus.name,
        "synthetic": False,
        "pictures": "drawn",
        "fps": VIDEO_FPS,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "source_fps": corpus.fps,
        "resampler": corpus.resampler,
        "max_difference_s": corpus.max_difference_s,
        "face": {**corpus.face.facts, "mm_per_unit": dict(corpus.mm_per_unit)},
        "mesh_warnings": list(corpus.face.warnings),
        **corpus.info,
    }
    if is_prepared(out):
        found = {key: value for key, value in load_info(out).items() if key in facts}
        if found != facts:
            differing = sorted(key for key in facts if found.get(key) != facts[key])
            raise CorpusError(
                f"{out}: was prepared with another {', '.join(differing)}; give another folder or "
                "delete this one"
            )
        return out
    skipped = [*corpus.copy.missing, *corpus.copy.extra]
    used: dict[str, list[ScanSequence]] = {split: [] for split in SPLITS}
    for sequence in corpus.copy.sequences:
        if sequence.split is None:
            reason = f"{sequence.path}: is in no split of the protocol"
            skipped.append(skip(sequence.name, sequence.path, reason))
        else:
            used[sequence.split].append(sequence)
    faces = {s.speaker_id: corpus.template(s.speaker_id) for own in used.values() for s in own}
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    parts = out / ".sequences" / key
    ready = {split: _made(corpus, own, parts, skipped, say) for split, own in used.items()}
    reasons = {row["utterance_id"]: row["reason"] for row in skipped}
    for split, names in ready.items():
        if not names:
            failed = [reasons[sequence.name] for sequence in used[split]]
            raise CorpusError(
                f"{corpus.name}: no usable sequence for the split {split}, {len(failed)} of the "
                f"copy are of it; {failed[0] if failed else 'complete the copy'}"
            )
    base = corpus.face.template
    save_prepared(
        out,
        {
            split: (read_part(parts / f"{name}.npz") for name in names)
            for split, names in ready.items()
        },
        FaceTemplates(
            topology=base.topology,
            triangles=base.triangles,
            regions=dict(base.regions),
            templates={speaker: face.vertices for speaker, face in faces.items()},
        ),
        facts,
        skipped,
    )
    shutil.rmtree(out / ".sequences", ignore_errors=True)
    for row in skipped[:LISTED]:
        say(f"skipped: {row['reason']}")
    say(f"{corpus.name}: {sum(map(len, ready.values()))} sequences, {len(skipped)} skipped: {out}")
    return out


def _made(
    corpus: ScanCorpus,
    sequences: Iterable[ScanSequence],
    parts: Path,
    skipped: list[dict[str, Any]],
    say: Callable[[str], None],
) -> list[str]:
    """File stems of the sequences that are written under ``parts``; others join ``skipped``."""
    names = []
    for sequence in sequences:
        stem = file_stem(sequence.name)
        if not (parts / f"{stem}.npz").is_file():
            try:
                row = encode_utterance(utterance_of(corpus, sequence))
            except ValueError as error:
                skipped.append(skip(sequence.name, sequence.path, str(error)))
                continue
            write_part(parts / f"{stem}.npz", row)
            say(f"{sequence.name}: {row['num_frames']} frames")
        names.append(stem)
    return names
