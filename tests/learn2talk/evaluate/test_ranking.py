from __future__ import annotations

import pytest

from learn2talk.evaluate import rank
from learn2talk.evaluate.ranking import rank_controls

SENSIBLE = {
    "truth": 0.0,
    "student": 1.0,
    "mean_face": 2.0,
    "still_face": 3.0,
    "other_utterance": 4.0,
    "student_of_other": 3.5,
    "truth_shifted_-6": 3.0,
    "truth_shifted_-3": 2.0,
    "truth_shifted_-1": 0.5,
    "truth_shifted_+1": 0.5,
    "truth_shifted_+3": 2.0,
    "truth_shifted_+6": 3.0,
}


def test_a_metric_that_ranks_says_so() -> None:
    found = rank(SENSIBLE, "lower")
    assert found["ranks_controls"] is True
    assert found["order"][:3] == ["truth", "truth_shifted_-1", "truth_shifted_+1"]
    assert found["words"] == (
        "Ranks the controls: the truth is first, and a longer shift is worse. The student is "
        "behind the truth, better than mean_face, still_face, other_utterance and student_of_other."
    )


def test_higher_is_the_reverse() -> None:
    found = rank({name: -value for name, value in SENSIBLE.items()}, "higher")
    assert found == rank(SENSIBLE, "lower")
    assert rank(SENSIBLE, "higher")["ranks_controls"] is False


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"still_face": 0.0}, "the truth is not better than still_face"),
        ({"truth_shifted_+3": -1.0}, "the truth is not better than truth_shifted_+3"),
        ({"truth_shifted_-6": 1.0}, "it puts truth_shifted_-6 before truth_shifted_-3"),
    ],
)
def test_a_metric_that_does_not_rank_says_why(changed: dict[str, float], words: str) -> None:
    found = rank(SENSIBLE | changed, "lower")
    assert found["ranks_controls"] is False and words in found["words"]
    assert found["words"].startswith("Does not rank the controls: ")


def test_a_difference_that_is_not_sure_does_not_rank() -> None:
    """A signed figure of the same clips in another order cancels to almost nothing."""
    found = rank(SENSIBLE | {"other_utterance": 1e-4}, "near zero", like_truth={"other_utterance"})
    assert found["ranks_controls"] is False
    assert "the truth is not surely better than other_utterance" in found["words"]


def test_a_bad_student_does_not_make_a_bad_metric() -> None:
    found = rank(SENSIBLE | {"student": 2.5}, "lower", like_student={"still_face"})
    assert found["ranks_controls"] is True
    assert found["words"].endswith(
        "The student is behind the truth, better than other_utterance and student_of_other, "
        "not surely different from still_face, worse than mean_face."
    )


def test_nearness_to_the_truth_and_to_zero() -> None:
    jitter = SENSIBLE | {"truth": 2.0, "student": 1.9, "mean_face": 0.0, "other_utterance": 9.0}
    order = rank(jitter, "near the truth")["order"]
    assert order.index("truth") == 0 or jitter[order[0]] == 2.0
    assert order.index("student") < order.index("mean_face") < order.index("other_utterance")
    signed = rank(SENSIBLE | {"student": -0.1, "mean_face": -5.0}, "near zero")
    assert signed["order"][:2] == ["truth", "student"] and signed["order"][-1] == "mean_face"


def test_faces_without_a_value() -> None:
    found = rank(SENSIBLE | {"still_face": None, "mean_face": None}, "lower")
    assert found["ranks_controls"] is True
    assert "No value for mean_face and still_face." in found["words"]
    assert rank(SENSIBLE | {"truth": None}, "lower")["ranks_controls"] is None
    alone = rank({"truth": 1.0, "student": None, "mean_face": None}, "lower")
    assert alone["ranks_controls"] is None and "No control has a value." in alone["words"]
    assert alone["words"].endswith("The student has no value.")


def test_controls_of_another_face_than_the_truth() -> None:
    """A first system whose own shift looks better; without shifts, for who hears nothing."""
    values = {
        "mine": 2.0,
        "mean_face": 3.0,
        "still_face": 4.0,
        "shifted_-1": 1.0,
        "shifted_+1": 3.0,
    }
    told = {"first": "mine", "controls": ("mean_face", "still_face"), "shifted": "shifted_"}
    found = rank_controls(values, "lower", **told)
    assert found["ranks_controls"] is False
    assert found["words"] == (
        "Does not rank the controls: system 'mine' is not better than shifted_-1."
    )
    deaf = rank_controls(values, "lower", **{**told, "shifted": ""}, like_first={"mean_face"})
    assert deaf["words"] == (
        "Does not rank the controls: system 'mine' is not surely better than mean_face."
    )
    sure = rank_controls(values, "lower", **{**told, "shifted": ""})
    assert sure["words"] == "Ranks the controls: system 'mine' is first."
    none = rank_controls({**values, "mine": None}, "lower", **told)
    assert none["words"] == "System 'mine' has no value here."
