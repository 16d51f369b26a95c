"""A stand-in for FLAME, made by code: the structure of its file, and none of its numbers.

The head is the bent sheet of `tests.learn2talk.sheet_face`, in metres: its lower part hangs on the
jaw, two discs on the eyes, the rest on neck and root. Shapes, expressions and pose correctives are
smooth bumps at random places.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from learn2talk.avatar.flame_model import FlameModel
from learn2talk.avatar.flame_params import FlameParams
from learn2talk.export.ict import load_ict_shapes
from learn2talk.schema import FaceTemplate
from tests.learn2talk.sheet_face import MOUTH_Y, Sheet


@lru_cache(maxsize=2)
def sheet_of(num_vertices: int) -> Sheet:
    return Sheet(num_vertices)


@lru_cache(maxsize=2)
def flame_arrays(num_vertices: int = 401) -> dict[str, np.ndarray]:
    """The arrays of a FLAME file under its keys, for any number of vertices."""
    sheet, rng = sheet_of(num_vertices), np.random.default_rng(7)
    places = sheet.vertices
    count = len(places)

    def bumps(number: int, size_mm: np.ndarray, radius_mm: tuple[float, float]) -> np.ndarray:
        centres = places[rng.integers(0, count, number)]
        radius = rng.uniform(*radius_mm, number)
        away = np.linalg.norm(places[:, None] - centres, axis=2)
        directions = rng.normal(size=(number, 3))
        directions *= (size_mm / np.linalg.norm(directions, axis=1))[:, None] / 1000.0
        return np.exp(-0.5 * (away / radius) ** 2)[:, None] * directions.T

    order = np.arange(300)
    shapes = bumps(300, 4.0 / (1 + order / 20), (30.0, 60.0))
    expressions = bumps(100, 3.0 / (1 + order[:100] / 20), (12.0, 30.0))
    x, y = places[:, 0], places[:, 1]
    weights = np.zeros((count, 5))
    weights[:, 2] = 0.9 * np.clip((MOUTH_Y - y) / 15.0, 0.0, 1.0)
    eyes = [np.hypot(x - side, y - 20.0) < 12.0 for side in (30.0, -30.0)]
    for joint, inside in zip((3, 4), eyes, strict=True):
        weights[inside] = 0.0
        weights[inside, joint] = 1.0
    rest = 1.0 - weights.sum(axis=1)
    weights[:, 0], weights[:, 1] = 0.3 * rest, 0.7 * rest
    regressor = np.zeros((5, count))
    for row, place in enumerate([(0, -85), (0, -60), (0, -10), (30, 20), (-30, 20)]):
        near = np.argsort(np.hypot(x - place[0], y - place[1]))[:4]
        regressor[row, near] = 0.25
    return {
        "v_template": places / 1000.0,
        "shapedirs": np.concatenate([shapes, expressions], axis=2),
        "posedirs": bumps(36, np.full(36, 2.0), (15.0, 30.0)),
        "J_regressor": regressor,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "weights": weights,
        "f": sheet.triangles.astype(np.uint32),
    }


@lru_cache(maxsize=2)
def made_up_flame(num_vertices: int = 401) -> FlameModel:
    arrays = flame_arrays(num_vertices)
    return FlameModel(
        vertices=arrays["v_template"],
        shapes=arrays["shapedirs"][:, :, :300],
        expressions=arrays["shapedirs"][:, :, 300:],
        correctives=arrays["posedirs"],
        joint_regressor=arrays["J_regressor"],
        weights=arrays["weights"],
        triangles=arrays["f"],
    )


def flame_of_ict(folder: Path) -> tuple[FlameModel, FaceTemplate]:
    """ICT-FaceKit (MIT) in FLAME's structure, and its face with regions: a real head's geometry.

    Its expressions are the first of a hundred; what jawOpen moves hangs on a jaw between the ears.
    """
    shapes = load_ict_shapes(folder)
    face, count = shapes.template, len(shapes.template.vertices)
    expressions = np.zeros((count, 3, 100), np.float32)
    expressions[:, :, : len(shapes.names)] = np.moveaxis(shapes.displacement, 0, 2) / 1000.0
    opened = np.linalg.norm(shapes.displacement[shapes.names.index("jawOpen")], axis=1)
    weights = np.zeros((count, 5), np.float32)
    weights[:, 2] = np.clip(opened / np.quantile(opened, 0.98), 0.0, 1.0)
    weights[:, 1] = 1.0 - weights[:, 2]
    regressor = np.zeros((5, count), np.float32)
    regressor[:, np.argsort(-np.abs(face.vertices[:, 0]))[:40]] = 1.0 / 40
    model = FlameModel(
        vertices=face.vertices / 1000.0,
        shapes=np.zeros((count, 3, 300), np.float32),
        expressions=expressions,
        correctives=np.zeros((count, 3, 36), np.float32),
        joint_regressor=regressor,
        weights=weights,
        triangles=face.triangles,
    )
    return model, face


def random_params(num_frames: int = 6, seed: int = 0, num_vertices: int = 401) -> FlameParams:
    """A moving head of an own shape: all parameters differ from 0."""
    rng = np.random.default_rng(seed)

    def draw(scale: float, *shape: int) -> np.ndarray:
        return rng.normal(0.0, scale, shape).astype(np.float32)

    return FlameParams(
        shape=draw(1.0, 300),
        expr=draw(1.0, num_frames, 100),
        rotation=draw(0.3, num_frames, 3),
        neck_pose=draw(0.1, num_frames, 3),
        jaw_pose=draw(0.1, num_frames, 3),
        eyes_pose=draw(0.2, num_frames, 6),
        translation=draw(0.2, num_frames, 3),
        static_offset=draw(0.001, num_vertices, 3),
    )
