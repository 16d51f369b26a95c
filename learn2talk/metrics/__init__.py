"""How far a generated face is from the truth, and how well it keeps time with the speech.

Definitions and traps: docs FACE_METRICS. Each figure has one canonical form; variants of papers
carry their own names. Arrays in, numbers out.
"""

from learn2talk.metrics.closure import (
    CLOSURE_PHONES,
    CLOSURE_TOLERANCE_S,
    INNER_LOWER_MIDDLE,
    INNER_UPPER_MIDDLE,
    ClosureCounts,
    count_closures,
    lip_gap_mm,
)
from learn2talk.metrics.errors import (
    centred_lip_vertex_errors_mm,
    face_dynamics_mm2,
    lip_vertex_errors,
    lip_vertex_errors_mm,
    mean_vertex_errors_mm,
    squared_in_own_units,
    upper_face_dynamics_deviation_mm2,
)
from learn2talk.metrics.motion import (
    diversity_mm,
    lip_intensity_mm_s,
    lip_jitter,
    lip_speed_mm_s,
    silence_motion_mm_s,
    silent_frames,
    speech_intensity,
)
from learn2talk.metrics.pooling import (
    ClusterDraws,
    draw_clusters,
    pooled_interval,
    pooled_mean,
    pooled_value,
)
from learn2talk.metrics.regions import RegionFacts, region_facts, unique_ids
from learn2talk.metrics.sync import (
    ShiftedWindows,
    SyncScore,
    shifted_distances,
    shifted_windows,
    speech_mesh_score,
    speech_mesh_window_score,
    sync_score,
)
from learn2talk.metrics.timing import (
    Misalignment,
    SpeechLipCorrelation,
    lip_correlation,
    speech_lip_correlation,
    temporal_misalignment,
)
from learn2talk.metrics.visemes import (
    SpectreRates,
    spectre_viseme_rates,
    text_to_phones,
    viseme_errors,
    viseme_word_errors,
    viseme_words,
)

__all__ = [
    "CLOSURE_PHONES",
    "CLOSURE_TOLERANCE_S",
    "INNER_LOWER_MIDDLE",
    "INNER_UPPER_MIDDLE",
    "ClosureCounts",
    "ClusterDraws",
    "Misalignment",
    "RegionFacts",
    "ShiftedWindows",
    "SpectreRates",
    "SpeechLipCorrelation",
    "SyncScore",
    "centred_lip_vertex_errors_mm",
    "count_closures",
    "diversity_mm",
    "draw_clusters",
    "face_dynamics_mm2",
    "lip_correlation",
    "lip_gap_mm",
    "lip_intensity_mm_s",
    "lip_jitter",
    "lip_speed_mm_s",
    "lip_vertex_errors",
    "lip_vertex_errors_mm",
    "mean_vertex_errors_mm",
    "pooled_interval",
    "pooled_mean",
    "pooled_value",
    "region_facts",
    "shifted_distances",
    "shifted_windows",
    "silence_motion_mm_s",
    "silent_frames",
    "spectre_viseme_rates",
    "speech_intensity",
    "speech_lip_correlation",
    "speech_mesh_score",
    "speech_mesh_window_score",
    "squared_in_own_units",
    "sync_score",
    "temporal_misalignment",
    "text_to_phones",
    "unique_ids",
    "upper_face_dynamics_deviation_mm2",
    "viseme_errors",
    "viseme_word_errors",
    "viseme_words",
]
