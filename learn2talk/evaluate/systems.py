"""One kind of face measured on every clip, and its figures. Axis letters: T frames, M columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learn2talk.data.motion_clip import MotionClip
from learn2talk.evaluate.expert import FPS, embed, offset_figures, score_clip
from learn2talk.evaluate.faces import Measured, Truth
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
from learn2talk.metrics import (
    ClosureCounts,
    ClusterDraws,
    SyncScore,
    count_closures,
    lip_gap_mm,
    pooled_interval,
    pooled_value,
    speech_intensity,
)
from learn2talk.metrics.pooling import Statistic, difference
from learn2talk.metrics.timing import intensity_columns
from learn2talk.models.sync_expert import SyncNet3D


@dataclass
class System:
    """What was measured of one kind of face, clip by clip."""

    columns: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    intensities: list[float] = field(default_factory=list)
    scores: list[SyncScore] = field(default_factory=list)
    closures: ClosureCounts = field(default_factory=lambda: ClosureCounts(0, 0, 0, 0))

    def table(self, name: str) -> NDArray[np.float64]:
        """Columns (C, M) of a measure."""
        return np.array(self.columns[name], dtype=np.float64)


def measure_system(
    face: Callable[[int], NDArray[np.float32]],
    clips: Sequence[MotionClip],
    truth: Sequence[Truth],
    measured: Measured,
    judge: SyncNet3D,
    thresholds: dict[str, float],
) -> System:
    """Measure one kind of face on every clip."""
    system = System(columns={name: [] for name in MEASURES})
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


def figure(
    columns: NDArray[np.float64], draws: ClusterDraws, measure: Measure, statistic: Statistic
) -> dict[str, Any]:
    """A figure with interval and unit, or why there is none."""
    if np.isnan(pooled_value(columns, statistic)):
        return {"value": None, "reason": "no clip has what it counts", "unit": measure.unit}
    return asdict(pooled_interval(columns, draws, statistic)) | {"unit": measure.unit}


def figures_of(system: System, draws: ClusterDraws) -> dict[str, Any]:
    """Every figure of one kind of face, JSON-ready."""
    figures: dict[str, Any] = {
        name: figure(system.table(name), draws, measure, measure.statistic)
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


def differences(first: System, second: System, draws: ClusterDraws) -> dict[str, Any]:
    """First minus second of each measure, paired clip by clip."""

    def both(name: str) -> NDArray[np.float64]:
        return np.concatenate([first.table(name), second.table(name)], axis=1)

    return {
        name: figure(both(name), draws, measure, difference(measure.statistic))
        for name, measure in MEASURES.items()
    }
