"""Expression and jaw of FLAME that explain a motion of its vertices, by regularised Gauss-Newton.

For a jaw turned by R the vertices are linear in the expression, and the normal equations are linear
in R, because R R' = 1: they are summed over all vertices once, and a frame costs a 103 x 103 system
a step. Axis letters: T frames, V vertices, E expressions. Unit: millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsr.video import rotation_matrices, rotation_vectors
from learn2talk.avatar.flame_model import JAW, MM_PER_M, FlameModel

Array = NDArray[np.float64]
_BLOCK = 64  # frames that are fitted at once
_DAMPING = (1e-6, 1e-9, 1e9)  # of a step: at first, least, most
# Derivatives of a rotation matrix, by the three turns that follow it.
_TURNS = np.array(
    [
        [[0, 0, 0], [0, 0, -1], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0], [-1, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
    ],
    dtype=np.float64,
)


@dataclass(frozen=True)
class FlameFitConfig:
    """What is minimised, a frame: the mean squared distance of the vertices, mm^2, and priors."""

    expression_prior_mm2: float = 1e-3
    """For each squared expression coefficient (a standard deviation): larger is calmer."""
    jaw_prior_mm2: float = 1e-3
    """For each squared radian of the jaw's turn."""
    lip_weight: float = 5.0
    """How much a vertex of the lips counts beside one elsewhere; 1: the same."""
    max_steps: int = 30
    """At most this many steps a frame."""
    tolerance_mm2: float = 1e-9
    """Stop when a step changes no frame's sum by more."""

    def __post_init__(self) -> None:
        if not (self.expression_prior_mm2 > 0 and self.jaw_prior_mm2 > 0):
            raise ValueError(
                f"priors {self.expression_prior_mm2} and {self.jaw_prior_mm2} must be positive"
            )
        if not (self.lip_weight > 0 and self.max_steps >= 1 and self.tolerance_mm2 > 0):
            raise ValueError(
                f"lip_weight {self.lip_weight} and tolerance_mm2 {self.tolerance_mm2} must be "
                f"positive, max_steps {self.max_steps} at least 1"
            )


@dataclass(frozen=True, eq=False)
class FlameFit:
    """Expression (T, 100) float64, jaw (T, 3) float64 rad, and distance of every vertex of the
    fitted head from its target, (T, V) float64, mm."""

    expression: Array
    jaw: Array
    distance_mm: Array


def fit_expression_and_jaw(
    model: FlameModel,
    neutral: NDArray,
    target: NDArray,
    *,
    lip_ids: NDArray[np.integer] | None = None,
    config: FlameFitConfig | None = None,
) -> FlameFit:
    """The expression and the jaw that bring a head nearest to moving vertices.

    Neck, eyes and the head as a whole are at rest.

    Args:
        model: FLAME, V vertices.
        neutral: (V, 3) mm, the head without expression, mouth closed.
        target: (T, V, 3) mm, head-pose-free.
        lip_ids: vertices that count `FlameFitConfig.lip_weight` times; None: none.
        config: priors and limits; None: their defaults.

    Raises:
        ValueError: another number of vertices than the model's, no frame, or a vertex that is not
            finite.
    """
    config = config or FlameFitConfig()
    shape = (len(model.vertices), 3)
    if np.shape(neutral) != shape or np.ndim(target) != 3 or np.shape(target)[1:] != shape:
        raise ValueError(
            f"FLAME fit: neutral {np.shape(neutral)} and target {np.shape(target)} are not "
            f"{shape} and (T, {shape[0]}, 3), the model's"
        )
    if not len(target):
        raise ValueError("FLAME fit: the motion has no frame; give one or more")
    for name, array in (("neutral", neutral), ("target", target)):
        if not np.isfinite(array).all():
            place = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
            raise ValueError(f"FLAME fit: {name} is not finite at {place}; repair the motion")
    importance = np.ones(shape[0])
    if lip_ids is not None:
        importance[lip_ids] = config.lip_weight
    system = _System(model, np.asarray(neutral, np.float64), importance / importance.sum())
    parts = [
        _fit_block(system, np.asarray(target[start : start + _BLOCK], np.float64), config)
        for start in range(0, len(target), _BLOCK)
    ]
    return FlameFit(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


class _System:
    """The head with its jaw alone, its derivatives, and what of them is the same for all frames.

    vertices = M rest + w (1 - R) joint, with M = s + w R, rest = neutral + E e + P (R - 1) and the
    joint linear in e: w is how much the jaw moves a vertex, s how much everything else does.
    """

    def __init__(self, model: FlameModel, neutral: Array, importance: Array) -> None:
        count = len(neutral)
        self.neutral = neutral
        shapes = MM_PER_M * model.expressions.astype(np.float64)
        self.shapes = shapes.reshape(3 * count, -1)
        part = slice(9 * (JAW - 1), 9 * JAW)
        self.correctives = MM_PER_M * model.correctives[:, :, part].astype(np.float64)
        self.jaw = model.weights[:, JAW].astype(np.float64)
        self.others = model.weights.astype(np.float64).sum(axis=1) - self.jaw
        regressor = model.joint_regressor[JAW].astype(np.float64)
        self.joint = regressor @ neutral
        self.joint_shapes = np.einsum("v,vce->ce", regressor, shapes)
        self.importance = importance
        both = importance * self.jaw * self.others
        squares = importance * (self.jaw**2 + self.others**2)
        self.gram = np.einsum("vce,vcf->ef", squares[:, None, None] * shapes, shapes, optimize=True)
        axes = np.moveaxis(shapes, 1, 0)  # (3, V, E)
        self.gram_turned = np.stack(
            [np.stack([(both[:, None] * one).T @ other for other in axes]) for one in axes]
        )
        self.moved_by_both = np.einsum("v,vce->ce", both, shapes)
        self.moved_by_jaw = np.einsum("v,vce->ce", importance * self.jaw**2, shapes)
        self.jaw_square = float((importance * self.jaw**2).sum())

    def pose(self, expression: Array, turn: Array) -> tuple[Array, Array]:
        """Vertices (T, V, 3), and R (rest - joint) of each, of T frames."""
        frames = len(expression)
        shaped = self.neutral + (expression @ self.shapes.T).reshape(frames, -1, 3)
        rest = shaped + np.einsum(
            "vcp,tp->tvc", self.correctives, (turn - np.eye(3)).reshape(frames, 9), optimize=True
        )
        joint = (self.joint + expression @ self.joint_shapes.T)[:, None]
        turned = (rest - joint) @ np.swapaxes(turn, 1, 2)
        return self.others[:, None] * rest + self.jaw[:, None] * (turned + joint), turned

    def towards_expression(self, change: Array, turn: Array) -> Array:
        """Derivative (T, E) by the expression of the products of vertices with (T, V, 3)."""
        back = change @ turn  # R' times each
        pulled = self.others[:, None] * change + self.jaw[:, None] * back
        at_joint = np.einsum("v,tvc->tc", self.jaw, change - back)
        flat = pulled.reshape(len(change), -1) @ self.shapes
        summed: Array = flat + at_joint @ self.joint_shapes
        return summed

    def by_jaw(self, turned: Array, turn: Array) -> Array:
        """Derivative (3, T, V, 3) of the vertices by three turns that follow the jaw's."""
        found = np.empty((3, *turned.shape))
        for axis, spin in enumerate(_TURNS):
            bent = np.einsum(
                "vcp,tp->tvc", self.correctives, (spin @ turn).reshape(-1, 9), optimize=True
            )
            swung = turned @ spin.T + bent @ np.swapaxes(turn, 1, 2)
            found[axis] = self.jaw[:, None] * swung + self.others[:, None] * bent
        return found

    def expression_gram(self, turn: Array) -> Array:
        """Weighted products (T, E, E) of the derivatives by the expression."""
        one = np.eye(3)
        there, back = turn, np.swapaxes(turn, 1, 2)
        gram = self.gram + np.einsum("tab,abef->tef", there + back, self.gram_turned, optimize=True)
        by_both = np.einsum("ae,tab->teb", self.moved_by_both, one - there)
        by_jaw = np.einsum("ae,tab->teb", self.moved_by_jaw, back - one)
        mixed = (by_both + by_jaw) @ self.joint_shapes
        joint = self.joint_shapes.T @ (2 * one - there - back) @ self.joint_shapes
        whole: Array = gram + mixed + np.swapaxes(mixed, 1, 2) + self.jaw_square * joint
        return whole


def _fit_block(
    system: _System, target: Array, config: FlameFitConfig
) -> tuple[Array, Array, Array]:
    """Expression (T, E), jaw (T, 3) and distances (T, V) of some frames."""
    frames, expressions = len(target), system.shapes.shape[1]
    prior = np.full(expressions + 3, config.expression_prior_mm2)
    prior[expressions:] = config.jaw_prior_mm2
    now = np.zeros((frames, expressions))
    turn = np.broadcast_to(np.eye(3), (frames, 3, 3)).copy()
    damping = np.full(frames, _DAMPING[0])
    vertices, turned = system.pose(now, turn)
    cost = _cost(system, vertices - target, now, turn, prior)
    for _ in range(config.max_steps):
        matrix, slope = _normal_equations(system, vertices - target, turned, now, turn, prior)
        diagonal = np.einsum("tkk->tk", matrix)
        diagonal *= 1.0 + damping[:, None]
        step = np.linalg.solve(matrix, -slope[..., None])[..., 0]
        tried = now + step[:, :expressions]
        tried_turn = rotation_matrices(step[:, expressions:]) @ turn
        tried_vertices, tried_turned = system.pose(tried, tried_turn)
        tried_cost = _cost(system, tried_vertices - target, tried, tried_turn, prior)
        better = tried_cost < cost
        damping = np.clip(damping * np.where(better, 0.1, 10.0), *_DAMPING[1:])
        change = float(np.abs(cost - tried_cost).max())
        for kept, new in (
            *((now, tried), (turn, tried_turn), (cost, tried_cost)),
            *((vertices, tried_vertices), (turned, tried_turned)),
        ):
            kept[better] = new[better]
        if change <= config.tolerance_mm2:
            break
    return now, rotation_vectors(turn), np.linalg.norm(vertices - target, axis=2)


def _cost(system: _System, missed: Array, expression: Array, turn: Array, prior: Array) -> Array:
    """What is minimised, (T,) mm^2."""
    unknown = np.concatenate([expression, rotation_vectors(turn)], axis=1)
    square = np.einsum("v,tvc,tvc->t", system.importance, missed, missed, optimize=True)
    total: Array = square + (prior * unknown**2).sum(axis=1)
    return total


def _normal_equations(
    system: _System, missed: Array, turned: Array, expression: Array, turn: Array, prior: Array
) -> tuple[Array, Array]:
    """Matrix (T, E + 3, E + 3) and right-hand side (T, E + 3) of a Gauss-Newton step."""
    frames, expressions = expression.shape
    weight = system.importance[:, None]
    by_jaw = system.by_jaw(turned, turn)
    matrix = np.empty((frames, expressions + 3, expressions + 3))
    matrix[:, :expressions, :expressions] = system.expression_gram(turn)
    slope = np.empty((frames, expressions + 3))
    slope[:, :expressions] = system.towards_expression(weight * missed, turn)
    for axis, column in enumerate(by_jaw):
        weighted = weight * column
        mixed = system.towards_expression(weighted, turn)
        matrix[:, :expressions, expressions + axis] = mixed
        matrix[:, expressions + axis, :expressions] = mixed
        for other in range(3):
            product = (weighted * by_jaw[other]).sum(axis=(1, 2))
            matrix[:, expressions + axis, expressions + other] = product
        slope[:, expressions + axis] = (weighted * missed).sum(axis=(1, 2))
    matrix += np.diag(prior)
    slope += prior * np.concatenate([expression, rotation_vectors(turn)], axis=1)
    return matrix, slope
