"""A face of any number of vertices for tests: a bent sheet with lips at known places.

The sheet is 150 mm wide; its mouth is a hole, 50 mm wide with its lips, 50 mm below the middle.
Vertices that do not fill the last row are joined to the top as a fan.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

WIDTH_MM, HEIGHT_MM, MOUTH_Y = 150.0, 180.0, -50.0
OUTER, INNER = (25.0, 13.0), (20.0, 7.0)  # half width and height of the lips' edges, mm


class Sheet:
    """vertices (V, 3) mm, triangles (F, 3), landmarks: ids of points 48 to 67 of the markup."""

    def __init__(self, num_vertices: int) -> None:
        side = int(np.sqrt(num_vertices - 1))
        x = np.linspace(-WIDTH_MM / 2, WIDTH_MM / 2, side)
        y = np.linspace(-HEIGHT_MM / 2, HEIGHT_MM / 2, side)
        across, up = np.meshgrid(x, y)
        rest = num_vertices - side * side
        more = np.stack([np.linspace(-20, 20, rest), np.full(rest, HEIGHT_MM / 2 + 5)], axis=1)
        flat = np.concatenate([np.stack([across.ravel(), up.ravel()], axis=1), more])
        depth = 60.0 - 0.008 * flat[:, 0] ** 2 - 0.004 * flat[:, 1] ** 2
        self.vertices = np.concatenate([flat, depth[:, None]], axis=1)
        corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
        self.triangles = np.concatenate(
            [
                np.stack([corner, corner + 1, corner + side + 1], axis=1),
                np.stack([corner, corner + side + 1, corner + side], axis=1),
                np.array(
                    [
                        (side * side - side, side * side + i, side * side + i + 1)
                        for i in range(rest - 1)
                    ]
                    or np.zeros((0, 3), int)
                ),
            ]
        ).astype(np.int32)
        if rest == 1:
            last = np.array([[side * side - 2, side * side - 1, side * side]], dtype=np.int32)
            self.triangles = np.concatenate([self.triangles, last])
        middle = self.vertices[self.triangles, :2].mean(axis=1) - (0.0, MOUTH_Y)
        inside = np.hypot(middle[:, 0] / INNER[0], middle[:, 1] / INNER[1]) < 0.9
        self.triangles = self.triangles[~inside]
        self.landmarks = self._landmarks()

    def at(self, x: float, y: float) -> int:
        """The vertex nearest to a place, mm."""
        away = self.vertices[:, :2] - (x, MOUTH_Y + y)
        return int(np.linalg.norm(away, axis=1).argmin())

    def _landmarks(self) -> np.ndarray:
        def ring(half_width: float, height: float, steps: int) -> list[tuple[float, float]]:
            angle = np.pi - np.arange(2 * steps) * np.pi / steps  # left corner, upper lip, right
            return [(half_width * np.cos(a), height * np.sin(a)) for a in angle]

        places = ring(*OUTER, 6) + ring(*INNER, 4)
        return np.array([self.at(*place) for place in places], dtype=np.int32)

    def below(self, y_mm: float) -> np.ndarray:
        """Vertices lower than a height."""
        return np.flatnonzero(self.vertices[:, 1] < y_mm)

    def motion(self, num_frames: int, fps: float, rate_hz: float = 2.0) -> np.ndarray:
        """(T, V, 3) mm: the lower part goes down and back by up to 8 mm."""
        time_s = (np.arange(num_frames) + 0.5) / fps
        opening = 4.0 * (1.0 - np.cos(2 * np.pi * rate_hz * time_s))
        moving = (self.vertices[:, 1] < MOUTH_Y).astype(float)
        frames = np.repeat(self.vertices[None], num_frames, axis=0)
        frames[:, :, 1] -= opening[:, None] * moving[None]
        return frames


def write_ply(path: Path, vertices: np.ndarray, triangles: np.ndarray, order: str = "<") -> None:
    """A binary PLY of floats, as FLAME_sample.ply is."""
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    header = (
        f"ply\nformat {name} 1.0\nelement vertex {len(vertices)}\nproperty float x\n"
        f"property float y\nproperty float z\nelement face {len(triangles)}\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    rows = np.zeros(len(triangles), dtype=[("n", "u1"), ("ids", order + "i4", (3,))])
    rows["n"], rows["ids"] = 3, triangles
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode() + vertices.astype(order + "f4").tobytes() + rows.tobytes())


def write_obj(path: Path, vertices: np.ndarray, faces: Any) -> None:
    """An OBJ of any polygons, counted from 0."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices.tolist()]
    lines += ["f " + " ".join(str(i + 1) for i in face) for face in np.asarray(faces).tolist()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_glb(path: Path, document: dict[str, Any], binary: bytes) -> None:
    """A GLB of a JSON document and a binary chunk."""
    import json

    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    body += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body)


def flame_folder(folder: Path, sheet: Sheet) -> Path:
    """The files of FLAME that a user has, for a sheet of 5023 vertices (in metres)."""
    write_ply(folder / "FLAME_sample.ply", sheet.vertices / 1000.0, sheet.triangles)
    high = sheet.vertices[:, 1]
    masks = {
        "face": np.flatnonzero(np.abs(sheet.vertices[:, 0]) < 70),
        "lips": np.flatnonzero((np.abs(sheet.vertices[:, 0]) < 25) & (np.abs(high - MOUTH_Y) < 11)),
        "nose": np.flatnonzero((np.abs(sheet.vertices[:, 0]) < 10) & (np.abs(high) < 25)),
    }
    with open(folder / "FLAME_masks.pkl", "wb") as stream:
        pickle.dump(masks, stream, protocol=2)
    rows, corners = landmark_embedding(sheet, np.concatenate([np.arange(31), sheet.landmarks]))
    np.savez(folder / "flame_static_embedding.npz", lmk_face_idx=rows, lmk_b_coords=corners)
    return folder


def landmark_embedding(sheet: Sheet, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A triangle of each vertex and the weights of its corners."""
    rows = [int(np.flatnonzero((sheet.triangles == i).any(axis=1))[0]) for i in ids.tolist()]
    weights = (sheet.triangles[rows] == ids[:, None]) * 0.9 + 0.1 / 3
    return np.array(rows), weights
