"""Face detection and 478 3D landmarks with MediaPipe Tasks (extra ``tracking``).

Frames are looked at one by one (IMAGE mode): VIDEO mode's built-in filter delays the lips by about
half a frame and flattens short closures (measured on GRID s1); smoothing is done later, on the head
pose only and with zero phase (`avsr.video.remove_head_pose`).
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsr.files import sha256_file, write_atomically
from avsr.video import FaceFrameIds

if TYPE_CHECKING:
    from types import ModuleType

TOPOLOGY = "mediapipe-478"
NUM_LANDMARKS = 478
MAX_FACES = 4

LANDMARKER_NAME = "face_landmarker.task"
LANDMARKER_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
LANDMARKER_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)

# Ids are "left/right" of the IMAGE. Contours: MediaPipe's FACE_LANDMARKS_LIPS, ordered from the
# image-left corner along the lower lip to the image-right corner and back along the upper lip.
LIPS_OUTER = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375),
    *(291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
)
LIPS_INNER = (
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324),
    *(308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
# Corners of the eyes, bridge of the nose, forehead, temples: rigid while talking (not brows, lids,
# cheeks, jaw, lips).
HEAD = FaceFrameIds(
    stable=(
        *(33, 133, 362, 263),
        *(168, 6, 197, 195, 193, 417, 122, 351, 196, 419),
        *(10, 67, 69, 103, 108, 109, 151, 297, 299, 332, 337, 338),
        *(54, 284, 21, 251, 162, 389, 127, 356),
    ),
    outer_eyes=(33, 263),
    pupils=(468, 473),
    vertical=(10, 152),
)
# Vertices below the nose's base (landmark 2) in Google's canonical face model, front of the face.
LOWER_FACE = (
    *(0, 11, 12, 13, 14, 15, 16, 17, 18, 32, 37, 38, 39, 40, 41, 42, 43, 57, 58, 61, 62, 72, 73),
    *(74, 76, 77, 78, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 95, 96, 106, 132, 135),
    *(136, 138, 140, 146, 148, 149, 150, 152, 164, 165, 167, 169, 170, 171, 172, 175, 176, 177),
    *(178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 191, 192, 194, 199, 200, 201, 202, 204),
    *(206, 207, 208, 210, 211, 212, 213, 214, 215, 216, 262, 267, 268, 269, 270, 271, 272, 273),
    *(287, 288, 291, 292, 302, 303, 304, 306, 307, 308, 310, 311, 312, 313, 314, 315, 316, 317),
    *(318, 319, 320, 321, 322, 324, 325, 335, 361, 364, 365, 367, 369, 375, 377, 378, 379, 391),
    *(393, 394, 395, 396, 397, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 415),
    *(416, 418, 421, 422, 424, 426, 427, 428, 430, 431, 432, 433, 434, 435, 436),
)


class TrackingError(ValueError):
    """A clip or a model file that cannot be tracked."""


@dataclass(frozen=True)
class FaceTrack:
    """One face through a clip.

    landmarks: float32 (T, 478, 3) in pixels (z too, larger = farther), NaN where not found.
    tracked: bool (T,), True = found in this frame.
    max_faces: most faces seen in one frame.
    note: which face was taken where there were several, else "".
    """

    landmarks: np.ndarray
    tracked: np.ndarray
    max_faces: int
    note: str


class FaceTracker:
    """A loaded MediaPipe face landmarker; use as a context manager, one for each process."""

    def __init__(self, landmarker_model: Path | str) -> None:
        """Load ``landmarker_model`` (face_landmarker.task).

        Raises:
            TrackingError: MediaPipe is not installed, or the model file is missing or another one.
        """
        check_landmarker(landmarker_model)
        self._mediapipe = _import_mediapipe()
        vision = self._mediapipe.tasks.vision
        options = vision.FaceLandmarkerOptions(
            base_options=self._mediapipe.tasks.BaseOptions(model_asset_path=str(landmarker_model)),
            running_mode=vision.RunningMode.IMAGE,
            num_faces=MAX_FACES,
        )
        with _native_stderr_silenced():  # its start-up messages come with the first frame
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
            self.detect(np.zeros((64, 64, 3), np.uint8))

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the model."""
        self._landmarker.close()

    def detect(self, frame: np.ndarray) -> list[np.ndarray]:
        """Faces in uint8 RGB (H, W, 3): each float32 (478, 3) in pixels."""
        # MediaPipe silently finds nothing in arrays that are not C-contiguous.
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame)
        )
        height, width = frame.shape[:2]
        size = np.array([width, height, width], np.float32)
        return [
            np.array([(p.x, p.y, p.z) for p in face], np.float32) * size
            for face in self._landmarker.detect(image).face_landmarks
        ]

    def track(self, frames: np.ndarray) -> FaceTrack:
        """Follow one face through uint8 RGB (T, H, W, 3).

        Of several faces the one that is largest and most central over the whole clip is taken, and
        the track's note says so.
        """
        faces = [self.detect(frame) for frame in frames]
        return choose_face(faces, frames.shape[1], frames.shape[2])


def choose_face(faces: list[list[np.ndarray]], height: int, width: int) -> FaceTrack:
    """Link the faces of T frames and keep the one that is largest and most central over the clip.

    Args:
        faces: for each frame its faces, each float32 (478, 3) in pixels.
        height, width: picture size in pixels.

    Returns:
        The track; faces are linked by nearest centre, at most one face width from frame to frame.
    """
    tracks: list[dict[int, np.ndarray]] = []
    for t, found in enumerate(faces):
        free = list(tracks)
        for face in sorted(found, key=_eye_distance, reverse=True):
            near = [(_distance(track, face), i) for i, track in enumerate(free)]
            distance, best = min(near, default=(np.inf, -1))
            if distance <= 2 * _eye_distance(face):
                free.pop(best)[t] = face
            else:
                tracks.append({t: face})
    landmarks = np.full((len(faces), NUM_LANDMARKS, 3), np.nan, np.float32)
    max_faces = max((len(found) for found in faces), default=0)
    if not tracks:
        return FaceTrack(landmarks, np.zeros(len(faces), bool), 0, "")
    if max_faces == 1:  # never two at a time: one talker, however far the head jumps
        chosen = {t: found[0] for t, found in enumerate(faces) if found}
    else:
        chosen = max(tracks, key=lambda track: _prominence(track, height, width))
    for t, face in chosen.items():
        landmarks[t] = face
    tracked = np.isfinite(landmarks[:, 0, 0])
    note = ""
    if max_faces > 1:
        centre = np.mean([face[:, :2].mean(0) for face in chosen.values()], axis=0)
        note = (
            f"up to {max_faces} faces in a frame; kept the largest, most central one, "
            f"at x {centre[0]:.0f} y {centre[1]:.0f} of {width}x{height} pixels"
        )
    return FaceTrack(landmarks, tracked, max_faces, note)


def _eye_distance(face: np.ndarray) -> float:
    left, right = HEAD.outer_eyes
    return float(np.linalg.norm(face[right] - face[left]))


def _distance(track: dict[int, np.ndarray], face: np.ndarray) -> float:
    last = track[max(track)]
    return float(np.linalg.norm(last[:, :2].mean(0) - face[:, :2].mean(0)))


def _prominence(track: dict[int, np.ndarray], height: int, width: int) -> float:
    """Sum over frames of size x closeness to the picture's centre (1 there, 0 in a corner)."""
    middle = np.array([width, height]) / 2
    total = 0.0
    for face in track.values():
        away = np.linalg.norm(face[:, :2].mean(0) - middle) / np.linalg.norm(middle)
        total += _eye_distance(face) / width * max(0.0, 1.0 - float(away))
    return total


def face_triangles() -> np.ndarray:
    """Triangles int32 (852, 3) of MediaPipe's face mesh, counter-clockwise seen from outside.

    MediaPipe publishes the tesselation as edges; each run of three is one triangle. Eyes and mouth
    are open; the irises (468-477) have no triangle.
    """
    connections = _import_mediapipe().tasks.vision.FaceLandmarksConnections
    edges = connections.FACE_LANDMARKS_TESSELATION
    runs = np.array([(edge.start, edge.end) for edge in edges], np.int32).reshape(-1, 3, 2)
    assert (runs[:, :, 1] == np.roll(runs[:, :, 0], -1, axis=1)).all(), "edges no longer triangles"
    return np.ascontiguousarray(runs[:, :, 0])


def face_regions(triangles: np.ndarray) -> dict[str, np.ndarray]:
    """Named vertex ids (int32) of the 478 landmarks.

    lips_outer, lips_inner: the 20-point contours. lips: both and all vertices between them.
    lower_face: below the nose's base, lips included. upper_face: all others, irises included.
    """
    neighbours: dict[int, set[int]] = {}
    for triangle in triangles.tolist():
        for vertex in triangle:
            neighbours.setdefault(vertex, set()).update(triangle)
    lips, frontier = set(LIPS_INNER), list(LIPS_INNER)
    while frontier:  # grow from the inner contour, stop at the outer one
        new = neighbours.get(frontier.pop(), set()) - lips - set(LIPS_OUTER)
        lips |= new
        frontier.extend(new)
    upper = sorted(set(range(NUM_LANDMARKS)) - set(LOWER_FACE))
    regions = {
        "lips_outer": LIPS_OUTER,
        "lips_inner": LIPS_INNER,
        "lips": sorted(lips | set(LIPS_OUTER)),
        "lower_face": LOWER_FACE,
        "upper_face": upper,
    }
    return {name: np.array(ids, np.int32) for name, ids in regions.items()}


def check_landmarker(path: Path | str) -> None:
    """Refuse any file but Google's published face landmarker.

    Raises:
        TrackingError: missing file or another SHA-256.
    """
    path = Path(path)
    if not path.is_file():
        raise TrackingError(
            f"{path}: no such face landmarker; run 'avsr fetch face-landmarker' and give its path"
        )
    found = sha256_file(path)
    if found != LANDMARKER_SHA256:
        raise TrackingError(
            f"{path}: sha256 is {found}, expected {LANDMARKER_SHA256}; "
            "delete it and run 'avsr fetch face-landmarker'"
        )


def landmarker_cache() -> Path:
    """Where ``avsr fetch face-landmarker`` puts the model where it is not told another place."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "avsr" / LANDMARKER_NAME


def find_face_landmarker(avsr_data: Path | str | None) -> Path | None:
    """The model in this folder, in the cache, or in ``avsr_data``/mediapipe_face; the first."""
    places = [Path(LANDMARKER_NAME), landmarker_cache()]
    if avsr_data:
        places.append(Path(avsr_data) / "mediapipe_face" / LANDMARKER_NAME)
    return next((path for path in places if path.is_file()), None)


def fetch_face_landmarker(destination: Path | str, avsr_data: Path | str | None = None) -> Path:
    """Put face_landmarker.task into place: from ``avsr_data``/mediapipe_face, else downloaded.

    Args:
        destination: the file to write, or a folder to write ``face_landmarker.task`` in.
        avsr_data: folder of local data (the caller's environment variable AVSR_DATA), or ``None``.

    Returns:
        The file's path; an intact one that is there already is left alone.

    Raises:
        TrackingError: no network and no local copy, or the bytes are not the published ones.
    """
    destination = Path(destination)
    if destination.is_dir() or destination.suffix != ".task":
        destination = destination / LANDMARKER_NAME
    if destination.is_file() and sha256_file(destination) == LANDMARKER_SHA256:
        return destination
    local = Path(avsr_data) / "mediapipe_face" / LANDMARKER_NAME if avsr_data else None
    with write_atomically(destination) as temporary:
        if local is not None and local.is_file():
            shutil.copyfile(local, temporary)
        else:
            try:
                with urllib.request.urlopen(LANDMARKER_URL, timeout=60) as response:
                    temporary.write_bytes(response.read())
            except OSError as error:
                raise TrackingError(
                    f"{LANDMARKER_URL}: not reachable ({error}); download it elsewhere, copy it to "
                    f"{destination}, and run again"
                ) from error
        check_landmarker(temporary)
    return destination


def _import_mediapipe() -> ModuleType:
    os.environ.setdefault("GLOG_minloglevel", "2")  # read once, when its library loads
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import mediapipe
    except ImportError as error:
        raise TrackingError(
            f"face tracking needs MediaPipe ({error}); "
            "install it with: pip install 'avsr-learn2talk[tracking]'"
        ) from error
    module: Any = mediapipe
    return module


@contextmanager
def _native_stderr_silenced() -> Iterator[None]:
    """Silence what C++ prints to file descriptor 2; Python exceptions pass through."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
