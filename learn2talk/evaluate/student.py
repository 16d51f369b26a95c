"""Figures of a student on a split that it was not trained on, beside its controls.

Controls: the mean face, the still face, other utterances' motion, and the truth shifted in time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.training.run_folder import provenance
from learn2talk.data.motion import MotionClip, MotionClips
from learn2talk.evaluate.expert import FPS, embed, offset_figures, score_clip
from learn2talk.evaluate.faces import (
    UPPER_REGION,
    Measured,
    Truth,
    closed_thresholds,
    load_truth,
    make_faces,
    mean_displacement,
    measured_vertices,
)
from learn2talk.evaluate.measures import (
    MEASURES,
    Measure,
    closure_columns,
    motion_columns,
    spatial_columns,
    sync_columns,
    timing_columns,
    tracked_intensity,
)
from learn2talk.evaluate.ranking import CONTROLS, rank
from learn2talk.files import load_student, load_sync_expert
from learn2talk.metrics import (
    INNER_LOWER_MIDDLE,
    INNER_UPPER_MIDDLE,
    ClosureCounts,
    ClusterDraws,
    SyncScore,
    count_closures,
    draw_clusters,
    lip_gap_mm,
    pooled_interval,
    pooled_value,
    region_facts,
    speech_intensity,
)
from learn2talk.metrics.pooling import Statistic, difference
from learn2talk.metrics.timing import intensity_columns
from learn2talk.models.sync_expert import SyncNet3D
from learn2talk.schema import FaceTemplate

TABLE = ("lip_error_mm", "lve_rooted_mm", "lve_mm2", "mve_mm")  # the columns of published pages
NOT_MEASURED = {
    "diversity_mm": "the student makes one motion for a sound: no seeds or styles to compare",
    "cer wer ver vwer": "needs a lip reader that saw no sound; not part of this evaluation",
}


@dataclass
class _System:
    """What was measured of one kind of face, clip by clip."""

    columns: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    intensities: list[float] = field(default_factory=list)
    scores: list[SyncScore] = field(default_factory=list)
    closures: ClosureCounts = field(default_factory=lambda: ClosureCounts(0, 0, 0, 0))

    def table(self, name: str) -> NDArray[np.float64]:
        """Columns (C, M) of a measure."""
        return np.array(self.columns[name], dtype=np.float64)


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
    window = model.config.window_frames
    clips = MotionClips(
        prepared, split, num_mels=trained.model.config.num_mels, window_frames=window
    )
    topology = next(iter(clips.templates.values()))
    if not np.array_equal(clips.animated_ids, trained.animated_ids):
        raise ValueError(
            f"{student}: moves {len(trained.animated_ids)} vertices of "
            f"{trained.template.topology!r}, {prepared} has {len(clips.animated_ids)} of "
            f"{topology.topology!r}; give a corpus of one topology"
        )
    measured = measured_vertices(topology, clips.animated_ids)
    by_name = load_truth(prepared, split, measured.ids)
    truth = [by_name[clip.utterance_id] for clip in clips.clips]
    mean = mean_displacement(prepared, measured.ids)
    faces = make_faces(trained, clips.clips, truth, measured, mean)
    thresholds = closed_thresholds(clips.clips)
    systems = {
        name: _measure(face, clips.clips, truth, measured, model, thresholds)
        for name, face in faces.items()
    }
    speakers = [clip.speaker_id for clip in clips.clips]
    by = "speaker" if len(set(speakers)) > 1 else "utterance"
    clusters = speakers if by == "speaker" else [clip.utterance_id for clip in clips.clips]
    draws = draw_clusters(clusters, clustered_by=by, seed=seed)
    figures = {name: _figures(system, draws) for name, system in systems.items()}
    return {
        "split": split,
        "clips": len(clips),
        "excluded": [list(pair) for pair in clips.excluded],
        "clustered_by": by,
        "seed": seed,
        "fps": FPS,
        "measures": {name: MEASURES[name].what for name in TABLE},
        "definitions": _definitions(),
        "regions": _regions(topology, measured, prepared),
        "not_measured": dict(NOT_MEASURED),
        "topology": {
            "name": topology.topology,
            "animated": len(clips.animated_ids),
            "lips": 40,
            "unit": "mm",
        },
        "student_sha256": trained.provenance["student_sha256"],
        "judge": {"folder": judge.name, "role": "judge", "sha256": judge_info["weights_sha256"]},
        "judge_sha256": judge_info["weights_sha256"],
        "systems": figures,
        "student_minus_control": {
            control: _differences(systems["student"], systems[control], draws)
            for control in CONTROLS
        },
        "ranking": {
            name: rank({face: one[name]["value"] for face, one in figures.items()}, measure.better)
            for name, measure in MEASURES.items()
        },
        **provenance(),
    }


def _definitions() -> dict[str, dict[str, str]]:
    return {
        name: {"unit": one.unit, "region": one.region, "better": one.better, "what": one.what}
        for name, one in MEASURES.items()
    }


def _regions(template: FaceTemplate, measured: Measured, prepared: Path) -> dict[str, Any]:
    """Name, source, count and hash of each region that a figure names."""
    where = f"topology {template.topology!r} of the prepared corpus {prepared.name!r}"
    lips = template.lip_ids
    upper = template.regions.get(UPPER_REGION, np.zeros(0, np.int32))
    found = {
        "lips": (f"lips_outer and lips_inner of {where}", lips),
        "lip_gap": (
            f"middles of lips_inner of {where}",
            lips[[INNER_LOWER_MIDDLE, INNER_UPPER_MIDDLE]],
        ),
        "animated": (f"lower_face and lips of {where}", measured.ids[measured.animated]),
        "upper_face": (f"{UPPER_REGION} of {where}", upper),
        "face": (f"animated and {UPPER_REGION} of {where}", measured.ids),
    }
    return {name: asdict(region_facts(name, *facts)) for name, facts in found.items()}


def _measure(
    face: Callable[[int], NDArray[np.float32]],
    clips: Sequence[MotionClip],
    truth: Sequence[Truth],
    measured: Measured,
    judge: SyncNet3D,
    thresholds: dict[str, float],
) -> _System:
    system = _System(columns={name: [] for name in MEASURES})
    for index, (clip, real) in enumerate(zip(clips, truth, strict=True)):
        frames = face(index)
        lips = clip.neutral_lips + frames[:, measured.lips]
        real_lips = clip.neutral_lips + real.displacement[:, measured.lips]
        embedded = embed(judge, clip, lips)
        score = score_clip(embedded)
        closures = count_closures(
            lip_gap_mm(lips), clip.phones, threshold_mm=thresholds[clip.speaker_id], fps=FPS
        )
        columns = {
            **spatial_columns(frames[clip.tracked], real.displacement[clip.tracked], measured),
            **timing_columns(lips, real_lips, clip.tracked),
            **motion_columns(lips, clip, real),
            **sync_columns(embedded, score),
            **closure_columns(closures),
        }
        for name, values in columns.items():
            system.columns[name].append(values)
        system.intensities.append(tracked_intensity(lips, clip.tracked))
        system.scores += [score] if score is not None else []
        system.closures += closures
    speech = np.array([speech_intensity(one.waveform) for one in truth])
    speakers = [clip.speaker_id for clip in clips]
    joined, _ = intensity_columns(np.array(system.intensities), speech, speakers)
    system.columns["slcc"] = [tuple(row) for row in joined.tolist()]
    return system


def _figure(
    columns: NDArray[np.float64], draws: ClusterDraws, measure: Measure, statistic: Statistic
) -> dict[str, Any]:
    """A figure with interval and unit, or why there is none."""
    if np.isnan(pooled_value(columns, statistic)):
        return {"value": None, "reason": "no clip has what it counts", "unit": measure.unit}
    return asdict(pooled_interval(columns, draws, statistic)) | {"unit": measure.unit}


def _figures(system: _System, draws: ClusterDraws) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: _figure(system.table(name), draws, measure, measure.statistic)
        for name, measure in MEASURES.items()
    }
    figures["lip_correlation"] = figures["lip_pcc"]["value"]
    figures["lip_correlation_clips"] = int(system.table("lip_pcc")[:, 1].sum())
    figures["slcc_clips"] = int(system.table("slcc")[:, 0].sum())
    figures["sync"] = offset_figures(system.scores)
    figures["sync_clips"] = len(system.scores)
    closures = system.closures
    figures["closures"] = asdict(closures) | {
        "recall": closures.recall if closures.phones else None,
        "precision": closures.precision if closures.closures else None,
    }
    return figures


def _differences(student: _System, control: _System, draws: ClusterDraws) -> dict[str, Any]:
    """Student minus control of each measure, paired clip by clip."""

    def both(name: str) -> NDArray[np.float64]:
        return np.concatenate([student.table(name), control.table(name)], axis=1)

    return {
        name: _figure(both(name), draws, measure, difference(measure.statistic))
        for name, measure in MEASURES.items()
    }
