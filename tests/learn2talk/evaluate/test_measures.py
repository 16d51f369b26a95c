from __future__ import annotations

import numpy as np
import pytest

from learn2talk.evaluate.faces import Measured, measured_vertices
from learn2talk.evaluate.measures import (
    longest_tracked,
    spatial_columns,
    steady,
    timing_columns,
    tracked_intensity,
)
from tests.learn2talk.conftest import tiny_template


def test_measured_vertices_hold_each_region_in_its_order() -> None:
    template = tiny_template()
    animated = np.array([0, 3, *range(5, 44)], dtype=np.int32)
    measured = measured_vertices(template, np.union1d(animated, template.lip_ids).astype(np.int32))
    assert measured.ids.tolist() == list(range(46))
    assert measured.ids[measured.lips].tolist() == template.lip_ids.tolist()
    assert measured.ids[measured.upper].tolist() == [44, 45]


def test_steps_over_untracked_frames_do_not_count() -> None:
    tracked = np.array([True, True, False, True, True, True])
    assert steady(tracked, 2).tolist() == [True, False, False, True, True]
    assert steady(tracked, 7).size == 0
    assert longest_tracked(tracked) == slice(3, 6)
    lips = np.zeros((6, 40, 3))
    lips[2] = 1000.0  # an untracked frame far away
    lips[5, :, 0] = 4.0
    # Steps 0-1, 3-4 and 4-5 move 0, 0 and 100 mm/s.
    assert tracked_intensity(lips, tracked) == pytest.approx(100 / np.sqrt(3))
    assert np.isnan(tracked_intensity(lips, np.zeros(6, dtype=bool)))


def test_spatial_columns_by_hand() -> None:
    """Two frames, 40 lips, one chin and one forehead vertex; one lip is 3 mm off in frame 0."""
    measured = Measured(
        ids=np.arange(42, dtype=np.int32),
        animated=np.arange(41),
        lips=np.arange(40),
        upper=np.array([41]),
    )
    real = np.zeros((2, 42, 3), dtype=np.float32)
    made = real.copy()
    made[0, 7, 1] = 3.0
    made[1, 41, 0] = 2.0  # the forehead moves: squared displacement 0 and 4, deviation 2
    columns = spatial_columns(made, real, measured)
    assert columns["lve_mm2"] == columns["lve_rms_of_max_mm"] == (9.0, 2.0)
    assert columns["lve_rooted_mm"] == (3.0, 2.0)
    assert columns["lve_rooted_clip_mean_mm"] == (1.5, 1.0)
    assert columns["lip_error_mm"] == pytest.approx((3 / 40, 2))
    assert columns["mve_mm"] == pytest.approx((3 / 41, 2))
    assert columns["mve_face_mm"] == pytest.approx((5 / 42, 2))
    assert columns["fdd_signed_mm2"] == (-2.0, 1.0) and columns["fdd_absolute_mm2"] == (2.0, 1.0)
    no_upper = Measured(measured.ids, measured.animated, measured.lips, measured.upper[:0])
    assert spatial_columns(made, real, no_upper)["fdd_absolute_mm2"] == (0.0, 0.0)


def test_timing_columns_of_a_still_face_count_what_is_missing() -> None:
    lips = np.zeros((60, 40, 3), dtype=np.float32)
    real = lips.copy()
    real[:, 35, 1] = 5 + 4 * np.sin(np.arange(60) / 4)
    columns = timing_columns(lips, real, np.ones(60, dtype=bool))
    assert columns["lip_pcc"] == columns["mtm_clip_mean_ms"] == (0.0, 0.0)
    assert columns["mtm_ms"] == columns["mtm_extra_rate"] == (0.0, 0.0)
    missed, extrema = columns["mtm_miss_rate"]
    assert missed == extrema > 3
