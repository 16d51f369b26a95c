"""How exact students' lips are where what they hear is noisy: lip error against SNR.

The motion that belongs to a mixture is that of its clean speech.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.data.mixtures import build_mixture_manifest, render_mixture
from avsr.data.noise_bank import NoiseBank, NoiseConfig, check_disjoint
from avsr.training.run_folder import provenance
from learn2talk.animate import displacement_of
from learn2talk.data.motion import MotionClips
from learn2talk.data.motion_clip import MotionClip
from learn2talk.files import TrainedStudent, load_student
from learn2talk.metrics import mean_vertex_errors_mm
from learn2talk.metrics.pooling import difference, draw_clusters, mean, pooled_interval


def error_against_noise(
    students: Mapping[str, Path | str],
    prepared: Path | str,
    noise: NoiseConfig,
    *,
    noise_types: Sequence[str],
    snrs_db: Sequence[float],
    split: str = "test",
    seed: int = 0,
) -> dict[str, Any]:
    """Lip error of students that hear mixtures, by noise and SNR.

    Args:
        students: name to folder, 1 or more.
        prepared: prepared corpus.
        noise: its test split is mixed in; no file of it may serve training.
        noise_types: of that split.
        snrs_db: dB; clean is always measured and not listed.
        split: which clips.
        seed: of the noise and of the intervals.

    Returns:
        JSON-ready: a row for each noise type and SNR (``None``, None for clean) with each
        student's mean lip error in mm and, where there are two or more, the paired difference of
        each to the first, all with 95 % intervals over speakers (utterances of a single speaker).

    Raises:
        ValueError: no student, an unknown noise, noise shared between splits, other vertices.
    """
    check_disjoint(noise)
    trained = {name: load_student(folder) for name, folder in students.items()}
    if not trained:
        raise ValueError("no student to measure; give a name and a folder")
    clips = MotionClips(Path(prepared), split, waveforms=True)
    for name, student in trained.items():
        if not np.array_equal(student.animated_ids, clips.animated_ids):
            raise ValueError(
                f"student {name!r} moves {student.template.topology!r}, {prepared} is of another "
                "topology; give a corpus of the student's"
            )
    template = next(iter(clips.templates.values()))
    lips = np.searchsorted(clips.animated_ids, template.lip_ids)
    bank = NoiseBank(noise, split)
    spoken = {clip.utterance_id: clip for clip in clips.clips}
    manifest = build_mixture_manifest(
        [(name, clip.sound) for name, clip in spoken.items()],
        bank,
        noise_types=noise_types,
        snrs_db=[None, *snrs_db],
        seeds=[seed],
    )
    speakers = [clip.speaker_id for clip in spoken.values()]
    by = "speaker" if len(set(speakers)) > 1 else "utterance"
    draws = draw_clusters(speakers if by == "speaker" else list(spoken), clustered_by=by, seed=seed)
    parts: dict[tuple[str, float | None], dict[str, dict[str, tuple[float, int]]]] = {}
    for row in manifest.rows:
        clip = spoken[row.utterance_id]
        heard = render_mixture(row, clip.sound, bank)
        found = {name: _error(student, clip, heard, lips) for name, student in trained.items()}
        parts.setdefault((row.noise_type, row.snr_db), {})[row.utterance_id] = found
    rows = []
    for (noise_type, snr_db), measured in parts.items():
        columns = {
            name: np.array([measured[clip][name] for clip in spoken], dtype=np.float64)
            for name in trained
        }
        first = next(iter(columns))
        rows.append(
            {
                "noise_type": noise_type,
                "snr_db": snr_db,
                "lip_error_mm": {
                    name: asdict(pooled_interval(own, draws, mean)) for name, own in columns.items()
                },
                f"minus_{first}_mm": {
                    name: asdict(
                        pooled_interval(
                            np.concatenate([own, columns[first]], axis=1), draws, difference(mean)
                        )
                    )
                    for name, own in columns.items()
                    if name != first
                },
            }
        )
    return {
        "split": split,
        "clips": len(clips),
        "seed": seed,
        "clustered_by": by,
        "mixtures_sha256": manifest.sha256,
        "students": {name: one.provenance["student_sha256"] for name, one in trained.items()},
        "rows": rows,
        **provenance(),
    }


def _error(
    student: TrainedStudent, clip: MotionClip, heard: NDArray, lips: NDArray
) -> tuple[float, int]:
    """Sum over the tracked frames of the mean lip error, mm, and how many there are."""
    made = displacement_of(student, heard)[: clip.num_frames][clip.tracked][:, lips]
    real = clip.displacement[clip.tracked][:, lips]
    errors = mean_vertex_errors_mm(reference=real, prediction=made)
    return float(errors.sum(dtype=np.float64)), len(errors)
