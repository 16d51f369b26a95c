"""Figures of sync experts and of students on a split that neither was trained on."""

from learn2talk.evaluate.expert import embed, evaluate_sync_expert
from learn2talk.evaluate.faces import closed_thresholds, fitted, shifted_in_time
from learn2talk.evaluate.measures import MEASURES
from learn2talk.evaluate.ranking import rank
from learn2talk.evaluate.student import evaluate_student

__all__ = [
    "MEASURES",
    "closed_thresholds",
    "embed",
    "evaluate_student",
    "evaluate_sync_expert",
    "fitted",
    "rank",
    "shifted_in_time",
]
