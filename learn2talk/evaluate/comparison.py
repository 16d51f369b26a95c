"""Several students on one split, with the controls, and how far each is from each: an ablation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.training.run_folder import provenance
from learn2talk.data.motion import MotionClips
from learn2talk.evaluate.faces import (
    Measured,
    closed_thresholds,
    generated,
    load_truth,
    make_faces,
    mean_displacement,
    measured_vertices,
)
from learn2talk.evaluate.student import definitions, regions_of
from learn2talk.evaluate.systems import System, differences, figures_of, measure_system
from learn2talk.files import TrainedStudent, load_student, load_sync_expert
from learn2talk.metrics import draw_clusters

OF_ONE_STUDENT = ("student", "student_of_other")


def compare_students(
    students: Mapping[str, Path | str],
    judge: Path | str,
    prepared: Path | str,
    *,
    split: str = "test",
    seed: int = 0,
) -> dict[str, Any]:
    """All metrics of several students and of the controls, measured on the same clips.

    Args:
        students: name to folder, 1 or more; they hear log-mel features of one size.
        judge: folder of a sync expert of role "judge".
        prepared: prepared corpus; its "train" split gives the mean face.
        split: which clips.
        seed: of the bootstrap.

    Returns:
        JSON-ready: ``systems`` with each measure's value and 95 % interval, and ``minus``: for each
        student the paired differences to every other system.

    Raises:
        ValueError: no student, one named as a control, the judge is a loss, topologies or features
            differ, no usable clip.
    """
    prepared = Path(prepared)
    trained = {name: load_student(folder) for name, folder in students.items()}
    if not trained:
        raise ValueError("no student to measure; give a name and a folder")
    model, judge_info = load_sync_expert(judge, "judge")
    heard = {name: one.model.config.num_mels for name, one in trained.items()}
    if set(heard.values()) != {model.config.num_mels}:
        raise ValueError(
            f"mel bands of students {heard} and of the judge {model.config.num_mels} differ; "
            "measure students with another ear one by one (learn2talk evaluate)"
        )
    clips = MotionClips(
        prepared,
        split,
        num_mels=model.config.num_mels,
        window_frames=model.config.window_frames,
    )
    topology = next(iter(clips.templates.values()))
    for name, one in trained.items():
        if not np.array_equal(clips.animated_ids, one.animated_ids):
            raise ValueError(
                f"student {name!r} moves {one.template.topology!r}, {prepared} is of "
                f"{topology.topology!r}; give a corpus of the students'"
            )
    measured = measured_vertices(topology, clips.animated_ids)
    by_name = load_truth(prepared, split, measured.ids)
    truth = [by_name[clip.utterance_id] for clip in clips.clips]
    mean = mean_displacement(prepared, measured.ids)
    faces = make_faces(next(iter(trained.values())), clips.clips, truth, measured, mean)
    for name in OF_ONE_STUDENT:
        del faces[name]
    if both := sorted(set(faces) & set(trained)):
        raise ValueError(f"students {both} are named as controls; give them other names")
    for name, one in trained.items():
        faces[name] = partial(_generated, one, clips, measured)
    thresholds = closed_thresholds(clips.clips)
    systems: dict[str, System] = {
        name: measure_system(face, clips.clips, truth, measured, model, thresholds)
        for name, face in faces.items()
    }
    speakers = [clip.speaker_id for clip in clips.clips]
    by = "speaker" if len(set(speakers)) > 1 else "utterance"
    clusters = speakers if by == "speaker" else [clip.utterance_id for clip in clips.clips]
    draws = draw_clusters(clusters, clustered_by=by, seed=seed)
    return {
        "split": split,
        "clips": len(clips),
        "excluded": [list(pair) for pair in clips.excluded],
        "clustered_by": by,
        "seed": seed,
        "definitions": definitions(),
        "regions": regions_of(topology, measured, prepared),
        "students": {name: one.provenance["student_sha256"] for name, one in trained.items()},
        "judge_sha256": judge_info["weights_sha256"],
        "systems": {name: figures_of(system, draws) for name, system in systems.items()},
        "minus": {
            name: {
                other: differences(systems[name], systems[other], draws)
                for other in systems
                if other != name
            }
            for name in trained
        },
        **provenance(),
    }


def _generated(
    student: TrainedStudent, clips: MotionClips, measured: Measured, index: int
) -> NDArray[np.float32]:
    return generated(student, clips.clips[index], measured)
