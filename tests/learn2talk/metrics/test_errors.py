from __future__ import annotations

import numpy as np
import pytest

from learn2talk.metrics import (
    centred_lip_vertex_errors_mm,
    face_dynamics_mm2,
    lip_vertex_errors,
    lip_vertex_errors_mm,
    mean_vertex_errors_mm,
    region_facts,
    squared_in_own_units,
    unique_ids,
    upper_face_dynamics_deviation_mm2,
)
from learn2talk.metrics.pooling import mean, pooled_value, root_mean


def test_vertex_errors_by_hand() -> None:
    real = np.zeros((2, 3, 3))
    made = real.copy()
    made[0, 1] = [3, 4, 0]  # 5 mm
    made[1, 0] = [0, 0, 1]
    made[1, 2] = [0, 2, 0]
    assert lip_vertex_errors(reference=real, prediction=made).tolist() == [25.0, 4.0]
    assert lip_vertex_errors_mm(reference=real, prediction=made).tolist() == [5.0, 2.0]
    np.testing.assert_allclose(mean_vertex_errors_mm(reference=real, prediction=made), [5 / 3, 1.0])


@pytest.mark.parametrize("shape", [(2, 4, 3), (0, 3, 3), (2, 3, 2)])
def test_vertex_errors_refuse_what_does_not_fit(shape: tuple[int, ...]) -> None:
    other = np.zeros((2, 3, 3)) if shape == (2, 4, 3) else np.zeros(shape)
    with pytest.raises(ValueError, match=r"shape"):
        lip_vertex_errors(reference=np.zeros(shape), prediction=other)


def test_no_error_where_nothing_differs() -> None:
    lips = np.random.default_rng(0).normal(size=(4, 5, 3))
    for measure in (
        lip_vertex_errors,
        lip_vertex_errors_mm,
        centred_lip_vertex_errors_mm,
        mean_vertex_errors_mm,
    ):
        assert measure(reference=lips, prediction=lips).tolist() == [0.0] * 4
    assert upper_face_dynamics_deviation_mm2(reference=lips, prediction=lips) == 0.0


def test_the_centred_variant_is_blind_to_an_offset() -> None:
    real = np.zeros((2, 2, 3))
    made = real.copy()
    made[0] += [7.0, 0, 0]  # the whole mouth
    made[1, 1] = [6.0, 0, 0]  # one of two points: each is 3 mm from the centre
    centred = centred_lip_vertex_errors_mm(reference=real, prediction=made)
    np.testing.assert_allclose(centred, [0.0, 3.0])
    assert lip_vertex_errors_mm(reference=real, prediction=made).tolist() == [7.0, 6.0]


def test_one_motion_has_three_lves() -> None:
    """Largest errors of 3 and 5 mm: canonical 17 mm^2, rooted 4 mm, RMS of the max 4.12 mm."""
    real = np.zeros((2, 3, 3))
    made = real.copy()
    made[0, 0, 2], made[1, 1, 0] = 3.0, 5.0
    squared = lip_vertex_errors(reference=real, prediction=made)
    columns = np.stack([squared, np.ones(2)], axis=1)
    assert pooled_value(columns, mean) == 17.0
    assert lip_vertex_errors_mm(reference=real, prediction=made).mean() == 4.0
    assert pooled_value(columns, root_mean) == pytest.approx(np.sqrt(17.0))


def test_pooling_frames_is_not_averaging_clips() -> None:
    """One clip of 1 frame with 9 mm^2 and one of 9 frames with 1: 1.8 pooled, 5 by clips."""
    columns = np.array([[9.0, 1.0], [9.0, 9.0]])
    assert pooled_value(columns, mean) == pytest.approx(1.8)


def test_a_table_in_metres_has_another_power_of_ten() -> None:
    assert squared_in_own_units(25.0, mm_per_unit=1000.0) == pytest.approx(2.5e-5)
    assert squared_in_own_units(25.0, mm_per_unit=1.0) == 25.0
    with pytest.raises(ValueError, match="mm_per_unit is 0"):
        squared_in_own_units(25.0, mm_per_unit=0)


def test_dynamics_by_hand() -> None:
    """Squared displacements 0, 4 and 1, 9: deviations 2 and 4 (divisor T), mean 3 mm^2."""
    displacement = np.zeros((2, 2, 3))
    displacement[1, 0, 0] = 2.0
    displacement[0, 1, 1], displacement[1, 1, 1] = 1.0, -3.0
    assert face_dynamics_mm2(displacement) == 3.0
    still = np.zeros_like(displacement)
    assert upper_face_dynamics_deviation_mm2(reference=displacement, prediction=still) == 3.0
    assert upper_face_dynamics_deviation_mm2(reference=still, prediction=displacement) == -3.0
    with pytest.raises(ValueError, match="no value"):
        face_dynamics_mm2(np.zeros((0, 2, 3)))


def test_a_repeated_vertex_counts_once() -> None:
    """FLAME's "lips" has 254 entries, 250 of them different."""
    listed = np.concatenate([np.arange(250)[::-1], [3, 3, 8, 9]])
    facts = region_facts("lips", "made up", listed)
    assert (facts.entries, facts.count) == (254, 250)
    assert facts.sha256 == region_facts("lips", "made up", np.arange(250)).sha256
    assert facts.sha256 != region_facts("lips", "made up", np.arange(251)).sha256
    assert unique_ids(listed).tolist() == list(range(250))
