"""Talking films as a moving mesh and a camera: what the splats of an avatar are fitted to.

The face is followed by MediaPipe, the procedural head is fitted to the landmarks of all films of a
person together, and each frame becomes the head's vertices, head-pose-free in millimetres, with a
camera that stands where the head's pose puts it. Axis letters: T frames, V vertices, H W picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.files import stream_video
from avsr.tracking import HEAD, FaceTracker, choose_face
from avsr.units import VIDEO_FPS
from avsr.video import fill_missing, reject_broken_segments, remove_head_pose, smooth_rotations
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.fitting.clip import FaceFit, fit_landmarks, neutral_landmarks
from learn2talk.fitting.face_model import FaceModel
from learn2talk.fitting.identity import fit_identity
from learn2talk.head.eyelids import close_eyelids, has_eyelids
from learn2talk.schema import FaceTemplate

# Landmarks above and below an open eye, and its corners: the image's left eye, then its right.
_EYES = (
    (((159, 145), (158, 153), (160, 144)), (33, 133)),
    (((386, 374), (385, 380), (387, 373)), (263, 362)),
)
_OPEN_QUANTILE = 0.8  # of a clip's frames an eye is open in most
# Of the opening when open: from where on the lid is taken to come down, and what a closed eye has.
_CLOSING, _CLOSED = 0.78, 0.35


@dataclass(frozen=True)
class FilmConfig:
    """How films are read and followed."""

    height: int = 576
    """Pictures higher than this are made smaller, pixels; smaller ones stay as they are."""
    max_frames: int = 600
    """Pictures kept of all films together at most, evenly; the tracking sees every frame."""
    camera_distance_mm: float = 2500.0
    """How far the camera is taken to stand from the head. The landmarks' own camera is
    orthographic and cannot tell; near ones bend the face."""
    blinks: bool = True
    """Whether the lids of the mesh follow those of the film."""

    def __post_init__(self) -> None:
        for name in ("height", "max_frames", "camera_distance_mm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"films: {name} is {getattr(self, name)}; give more than 0")


@dataclass(frozen=True)
class Shot:
    """One frame of one film of a person."""

    film: int
    frame: int


@dataclass(frozen=True, eq=False)
class TrackedFilm:
    """A film and the mesh that moves as its face does.

    pictures uint8 (T, H, W, 3). vertices float32 (T, V, 3), mm, head-pose-free. rotations
    (T, 3, 3), translations (T, 3): of each frame's camera, in OpenCV's convention (`cameras`).
    tracked bool (T,), True where a face was found. lips_mm: mean distance of the tracked lip points
    from the mesh's.
    """

    path: Path
    pictures: NDArray[np.uint8]
    vertices: NDArray[np.float32]
    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]
    tracked: NDArray[np.bool_]
    lips_mm: float


@dataclass(frozen=True, eq=False)
class TrackedPerson:
    """Films of one person.

    template: the neutral face. camera: with the head in the mean of its poses.
    """

    template: FaceTemplate
    films: tuple[TrackedFilm, ...]
    camera: PinholeCamera

    def camera_of(self, film: int, frame: int) -> PinholeCamera:
        """The camera of a frame: that of all, moved about the head."""
        there, mean = self.films[film], self.camera
        return PinholeCamera(
            there.rotations[frame],
            there.translations[frame],
            *(mean.fx, mean.fy, mean.cx, mean.cy, mean.width, mean.height, mean.near),
        )


def track_person(
    paths: Sequence[Path],
    landmarker_model: Path,
    model: FaceModel,
    config: FilmConfig = FilmConfig(),
    say: Callable[[str], None] = print,
) -> TrackedPerson:
    """Follow a face through films of one person and fit a face model to it.

    Args:
        paths: films, one person in the same framing in all of them; at 25 frames a second they are
            taken.
        landmarker_model: face_landmarker.task.
        model: whose mesh moves.
        config: sizes and limits.
        say: receives lines for the user.

    Raises:
        ValueError: no film, films of different sizes, a film that cannot be read, or one in which
            no face was found.
    """
    if not paths:
        raise ValueError("no film to make an avatar of; give one or several")
    read: list[_Read] = []
    most = max(1, config.max_frames // len(paths))
    with FaceTracker(landmarker_model) as tracker:
        for path in paths:
            read.append(_read(path, tracker, config.height, most, say))
            first, size = read[0].pictures.shape[1:3], read[-1].pictures.shape[1:3]
            if size != first:
                raise ValueError(
                    f"{path}: pictures of {size[1]} x {size[0]}, those of {paths[0]} have "
                    f"{first[1]} x {first[0]}; give films of one camera"
                )
    neutrals = []
    for one in read:
        filled, _ = fill_missing(one.landmarks.astype(np.float64), one.tracked, len(one.tracked))
        vertices, _ = remove_head_pose(filled, HEAD, tracked=one.tracked)
        neutrals.append(neutral_landmarks(vertices, one.tracked))
    face = fit_identity(model, np.median(neutrals, axis=0))
    fits = [fit_landmarks(model, one.landmarks, one.tracked, face=face) for one in read]
    height, width = read[0].pictures.shape[1:3]
    scales = np.concatenate([fit.scale[r.tracked] for fit, r in zip(fits, read, strict=True)])
    focal = float(np.median(scales)) * config.camera_distance_mm
    centre = (width / 2.0, height / 2.0)
    films = tuple(
        _film(one, fit, focal, centre, config.blinks) for one, fit in zip(read, fits, strict=True)
    )
    turns = np.concatenate([film.rotations[film.tracked] for film in films])
    moves = np.concatenate([film.translations[film.tracked] for film in films])
    mean = smooth_rotations(turns.mean(0, keepdims=True), 0.0)[0]
    camera = PinholeCamera(mean, moves.mean(0), focal, focal, *centre, width, height)
    return TrackedPerson(face.template, films, camera)


@dataclass(frozen=True, eq=False)
class _Read:
    """Every ``step``-th picture of a film; landmarks (T, 478, 3) of all, where tracked (T,)."""

    path: Path
    pictures: NDArray[np.uint8]
    step: int
    landmarks: NDArray[np.float32]
    tracked: NDArray[np.bool_]


def _read(
    path: Path, tracker: FaceTracker, height: int, most: int, say: Callable[[str], None]
) -> _Read:
    """Follow the face through a film and keep up to ``most`` of its pictures, evenly."""
    pictures: list[NDArray[np.uint8]] = []
    faces: list[list[np.ndarray]] = []
    step, size = 1, (0, 0)
    for frame in stream_video(path, VIDEO_FPS):
        picture = shrunk(frame, height)
        size = picture.shape[:2]
        if len(faces) % step == 0:
            pictures.append(picture)
        faces.append(tracker.detect(picture))
        if len(pictures) > most:  # the film is longer than was known: every second one stays
            pictures, step = pictures[::2], 2 * step
    track = choose_face(faces, *size)
    tracked = track.tracked
    if step == 1 and tracked.any():  # pictures far apart differ as damaged ones do
        tracked = reject_broken_segments(np.stack(pictures), tracked)
    count = int(tracked.sum())
    if not count:
        raise ValueError(
            f"{path}: no face was found in any of {len(faces)} frames; give a film that shows one"
        )
    say(
        f"{path}: {len(faces)} frames of {size[1]} x {size[0]}, a face in {count}"
        + (f"; one picture in {step} is kept" if step > 1 else "")
        + (f"; {track.note}" if track.note else "")
    )
    return _Read(path, np.stack(pictures), step, track.landmarks, tracked)


def shrunk(picture: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) made smaller, with even sides, where it is higher than ``height``."""
    if picture.shape[0] <= height:
        return picture
    size = [height - height % 2, 2 * round(picture.shape[1] * height / picture.shape[0] / 2)]
    whole = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    small = torch.nn.functional.interpolate(whole, size, mode="bilinear", antialias=True)
    out: NDArray[np.uint8] = small[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    return out


def _film(
    read: _Read, fit: FaceFit, focal: float, centre: tuple[float, float], blinks: bool
) -> TrackedFilm:
    """The weak perspective of the fit as a pinhole camera far away.

    A point c = R v + t of the fit is seen at scale x c, the same as from the distance focal / scale
    with the picture's own centre moved there.
    """
    vertices = fit.motion.vertices
    if blinks and has_eyelids(fit.face.template):
        closure = eyelid_closure(read.landmarks, read.tracked)
        vertices = close_eyelids(vertices, fit.face.template, closure)
    translations = fit.translation.copy()
    translations[:, 0] -= centre[0] / fit.scale
    translations[:, 1] -= centre[1] / fit.scale
    translations[:, 2] = focal / fit.scale  # depth is the scale's; the head's origin stands there
    kept = slice(None, None, read.step)
    return TrackedFilm(
        path=read.path,
        pictures=read.pictures,
        vertices=vertices[kept],
        rotations=fit.rotation[kept],
        translations=translations[kept],
        tracked=read.tracked[kept],
        lips_mm=fit.errors.lips_mm,
    )


def eyelid_closure(landmarks: NDArray, tracked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far each upper lid has come down, (T, 2) in [0, 1], the image's left eye first.

    The eye's opening by its width (Soukupova and Cech, "Real-time eye blink detection using facial
    landmarks", 2016) beside what it is when open; where no face was found, 0.

    Args:
        landmarks: (T, 478, 3), any unit. tracked: bool (T,), at least one frame.
    """
    closure = np.zeros((len(landmarks), len(_EYES)))
    known = landmarks[tracked].astype(np.float64)
    for side, (lids, corners) in enumerate(_EYES):
        gaps = [np.linalg.norm(known[:, up] - known[:, low], axis=-1) for up, low in lids]
        width = np.linalg.norm(known[:, corners[0]] - known[:, corners[1]], axis=-1)
        opening = np.mean(gaps, axis=0) / width
        share = opening / np.quantile(opening, _OPEN_QUANTILE)
        closure[tracked, side] = np.clip((_CLOSING - share) / (_CLOSING - _CLOSED), 0.0, 1.0)
    return closure
