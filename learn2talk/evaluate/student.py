"""Figures of a student on a split that it was not trained on, beside its controls.

Controls: the mean face, the still face, other utterances' motion, and the truth shifted in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from avsr.training.run_folder import provenance
from learn2talk.data.motion import MotionClips
from learn2talk.evaluate.expert import FPS
from learn2talk.evaluate.faces import (
    UPPER_REGION,
    Measured,
    closed_thresholds,
    load_truth,
    make_faces,
    mean_displacement,
    measured_vertices,
)
from learn2talk.evaluate.measures import MEASURES
from learn2talk.evaluate.ranking import CONTROLS, SHIFTED, rank
from learn2talk.evaluate.systems import System, differences, figures_of, measure_system
from learn2talk.files import TrainedStudent, load_student, load_sync_expert
from learn2talk.metrics import (
    INNER_LOWER_MIDDLE,
    INNER_UPPER_MIDDLE,
    draw_clusters,
    region_facts,
)
from learn2talk.models.sync_expert import SyncNet3D
from learn2talk.schema import FaceTemplate

TABLE = ("lip_error_mm", "lve_rooted_mm", "lve_mm2", "mve_mm")  # the columns of published pages
NOT_MEASURED = {
    "diversity_mm": "the student makes one motion for a sound: no seeds or styles to compare",
    "cer wer ver vwer": "needs a lip reader that saw no sound; not part of this evaluation",
}


def evaluate_student(
    student: Path, judge: Path, prepared: Path, *, split: str = "test", seed: int = 0
) -> dict[str, Any]:
    """All metrics of a student, with its controls, on one split.

    Args:
        student: folder of a trained student.
        judge: folder of a sync expert of role "judge" (never the student's loss).
        prepared: prepared corpus; its "train" split gives the mean face.
        split: which clips.
        seed: of the bootstrap.

    Returns:
        JSON-ready figures: each measure with its unit and a 95 % interval over speakers (over
        utterances where there is one speaker), the paired differences of student and controls, and
        for each measure whether it ranks the controls at all.

    Raises:
        ValueError: the judge is a loss; topologies differ; no usable clip.
    """
    trained = load_student(student)
    model, judge_info = load_sync_expert(judge, "judge")
    # A student of samples has no log-mel features of its own: then they are the judge's.
    mels = trained.model.config.num_mels
    clips = MotionClips(
        prepared,
        split,
        num_mels=model.config.num_mels if mels is None else mels,
        window_frames=model.config.window_frames,
        waveforms=mels is None,
    )
    topology = next(iter(clips.templates.values()))
    if not np.array_equal(clips.animated_ids, trained.animated_ids):
        raise ValueError(
            f"{student}: moves {len(trained.animated_ids)} vertices of "
            f"{trained.template.topology!r}, {prepared} has {len(clips.animated_ids)} of "
            f"{topology.topology!r}; give a corpus of one topology"
        )
    measured = measured_vertices(topology, clips.animated_ids)
    systems = _systems(trained, model, clips, measured)
    speakers = [clip.speaker_id for clip in clips.clips]
    by = "speaker" if len(set(speakers)) > 1 else "utterance"
    clusters = speakers if by == "speaker" else [clip.utterance_id for clip in clips.clips]
    draws = draw_clusters(clusters, clustered_by=by, seed=seed)
    figures = {name: figures_of(system, draws) for name, system in systems.items()}

    def minus(first: str) -> dict[str, dict[str, Any]]:
        names = (*CONTROLS, *SHIFTED)
        return {name: differences(systems[first], systems[name], draws) for name in names}

    truth_minus, student_minus = minus("truth"), minus("student")
    return {
        "split": split,
        "clips": len(clips),
        "excluded": [list(pair) for pair in clips.excluded],
        "clustered_by": by,
        "seed": seed,
        "fps": FPS,
        "measures": {name: MEASURES[name].what for name in TABLE},
        "definitions": definitions(),
        "regions": regions_of(topology, measured, prepared),
        "not_measured": dict(NOT_MEASURED),
        "topology": _topology_info(topology, measured),
        "student_sha256": trained.provenance["student_sha256"],
        "judge": {"folder": judge.name, "role": "judge", "sha256": judge_info["weights_sha256"]},
        "judge_sha256": judge_info["weights_sha256"],
        "systems": figures,
        "student_minus_control": {control: student_minus[control] for control in CONTROLS},
        "ranking": {
            name: rank(
                {face: one[name]["value"] for face, one in figures.items()},
                measure.better,
                like_truth=_alike(truth_minus, name),
                like_student=_alike(student_minus, name),
            )
            for name, measure in MEASURES.items()
        },
        **provenance(),
    }


def _systems(
    trained: TrainedStudent, judge: SyncNet3D, clips: MotionClips, measured: Measured
) -> dict[str, System]:
    """The student, the truth and each control, measured on every clip."""
    by_name = load_truth(clips.folder, clips.split, measured.ids)
    truth = [by_name[clip.utterance_id] for clip in clips.clips]
    mean = mean_displacement(clips.folder, measured.ids)
    faces = make_faces(trained, clips.clips, truth, measured, mean)
    thresholds = closed_thresholds(clips.clips)
    return {
        name: measure_system(face, clips.clips, truth, measured, judge, thresholds)
        for name, face in faces.items()
    }


def _alike(apart: Mapping[str, Mapping[str, Any]], measure: str) -> set[str]:
    """Controls whose paired difference of a measure has an interval that holds 0."""
    found = {control: one[measure] for control, one in apart.items()}
    return {
        control
        for control, one in found.items()
        if one["value"] is not None and one["low"] <= 0.0 <= one["high"]
    }


def definitions() -> dict[str, dict[str, str]]:
    """What each figure is: unit, region, which way is better, in words."""
    return {
        name: {"unit": one.unit, "region": one.region, "better": one.better, "what": one.what}
        for name, one in MEASURES.items()
    }


def _topology_info(template: FaceTemplate, measured: Measured) -> dict[str, Any]:
    return {
        "name": template.topology,
        "animated": len(measured.animated),
        "upper_face_animated": len(np.intersect1d(measured.animated, measured.upper)),
        "lips": len(measured.lips),
        "unit": "mm",
    }


def regions_of(template: FaceTemplate, measured: Measured, prepared: Path) -> dict[str, Any]:
    """Name, source, count and hash of each region that a figure names."""
    where = f"topology {template.topology!r} of the prepared corpus {prepared.name!r}"
    lips = template.lip_ids
    middles = lips[[INNER_LOWER_MIDDLE, INNER_UPPER_MIDDLE]]
    found = {
        "lips": (f"lips_outer and lips_inner of {where}", lips),
        "lip_gap": (f"middles of lips_inner of {where}", middles),
        "animated": (f"lower_face and lips of {where}", measured.ids[measured.animated]),
        "upper_face": (f"{UPPER_REGION} of {where}", template.regions.get(UPPER_REGION, lips[:0])),
        "face": (f"animated and {UPPER_REGION} of {where}", measured.ids),
    }
    return {name: asdict(region_facts(name, *facts)) for name, facts in found.items()}
