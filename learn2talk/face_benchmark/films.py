"""Films as systems: tracked once, kept, with a neutral face for each speaker.

The landmarks of MediaPipe are followed through each film; from them come the mouth's crops (of our
kind, and of each imported recogniser's kind), and the face's head-pose-free motion in millimetres.
Axis letters: T frames, V landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.corpora.clip_tracking import LIPS
from avsr.corpora.clips import TalkingClip, file_stem
from avsr.corpora.head_frames import head_frames, move, neutral_faces
from avsr.files import read_video, write_atomically
from avsr.pretrained.mouth_crops import AUTO_AVSR, AV_HUBERT, aligned_mouth_crops
from avsr.tracking import (
    HEAD,
    TOPOLOGY,
    FaceTracker,
    face_regions,
    face_triangles,
)
from avsr.video import crop_mouths, fill_missing, reject_broken_segments, remove_head_pose
from learn2talk.face_benchmark.inputs import System, Utterance
from learn2talk.face_benchmark.motion_folders import FPS
from learn2talk.schema import FaceTemplate, Motion

MAX_GAP_FRAMES = 12  # without a face, bridged
OURS = "ours"  # the crops that recognisers of the toolkit read


@dataclass(frozen=True)
class Alignment:
    """Crops that an imported recogniser reads: its project, and the mean face of its folder."""

    network: str
    mean_face: tuple[tuple[int, tuple[float, float]], ...]


@dataclass(frozen=True, eq=False)
class TrackedFilm:
    """A film's face: vertices (T, V, 3) mm in the clip's own head frame, valid (T,), crops uint8
    (T, 96, 96) by kind."""

    vertices: NDArray[np.float32]
    valid: NDArray[np.bool_]
    crops: Mapping[str, NDArray[np.uint8]]


def file_facts(path: Path) -> list[int]:
    """Size and time of change: another file under the same name has others."""
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]


@lru_cache(maxsize=1)
def _tracker(landmarker_model: Path) -> FaceTracker:
    return FaceTracker(landmarker_model)  # one for each process, as long as it lives


def track_film(
    path: Path, kept: Path, landmarker_model: Path, alignments: Mapping[str, Alignment]
) -> Path:
    """Track a film into ``kept``, an .npz; a film that was tracked before is left.

    A film without a face gives vertices of no frame and crops that are not valid.

    Args:
        path: film of any frame rate.
        kept: file to write.
        landmarker_model: face_landmarker.task.
        alignments: by name, the further kinds of crops that are wanted.

    Raises:
        ValueError: a damaged film.
    """
    facts = np.array(file_facts(path))
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as there:
            names = {f"crops/{name}" for name in alignments}
            if np.array_equal(there["facts"], facts) and names <= set(there.files):
                return kept
    frames = read_video(path)
    track = _tracker(landmarker_model).track(frames)
    valid = reject_broken_segments(frames, track.tracked)
    arrays: dict[str, NDArray[Any]] = {"facts": facts, "video_valid": valid}
    blank = np.zeros((len(frames), 96, 96), np.uint8)
    if valid.any():
        marks, bridged = fill_missing(track.landmarks.astype(np.float64), valid, MAX_GAP_FRAMES)
        vertices, _ = remove_head_pose(marks, HEAD, tracked=valid)
        crops = crop_mouths(frames, marks, HEAD, LIPS)
        crops[~bridged] = 0
        arrays |= {"vertices": vertices.astype(np.float32), "bridged": bridged, "crops/ours": crops}
        held, _ = fill_missing(track.landmarks.astype(np.float64), valid, len(frames))
        for name, wanted in alignments.items():
            convention = AUTO_AVSR if wanted.network == "auto_avsr" else AV_HUBERT
            arrays[f"crops/{name}"] = aligned_mouth_crops(
                frames, held, convention, dict(wanted.mean_face)
            )
    else:
        empty = np.zeros((0, 0, 3), np.float32)
        arrays |= {"vertices": empty, "bridged": valid, "crops/ours": blank}
        arrays |= {f"crops/{name}": blank for name in alignments}
    with write_atomically(kept) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    return kept


def load_film(kept: Path) -> TrackedFilm:
    """What `track_film` wrote."""
    with np.load(kept, allow_pickle=False) as there:
        crops = {name[6:]: there[name] for name in there.files if name.startswith("crops/")}
        return TrackedFilm(there["vertices"], there["bridged"].astype(bool), crops)


def kept_path(folder: Path, system: System, utterance: Utterance) -> Path:
    """Where a tracked film of a system is kept."""
    return folder / "tracked" / system.name / f"{file_stem(utterance.utterance_id)}.npz"


def write_faces(folder: Path, system: System, utterances: Sequence[Utterance]) -> list[str]:
    """Neutral face and head frames of a film system's speakers, from its tracked films.

    The neutral face is the median of the frames with the smallest lip gaps, three a film
    (`avsr.corpora.head_frames`).

    Returns:
        utterances without a face in their film.
    """
    done: dict[TalkingClip, Path] = {}
    without: list[str] = []
    for one in utterances:
        path = kept_path(folder, system, one)
        with np.load(path, allow_pickle=False) as there:
            if not len(there["vertices"]):
                without.append(one.utterance_id)
                continue
        film = system.files[file_stem(one.utterance_id)]
        clip = TalkingClip(
            one.utterance_id, one.speaker_id, film, one.utterance_id, "test", one.text
        )
        done[clip] = path
    if not done:
        raise ValueError(
            f"{system.folder}: no face found in any of {len(utterances)} films; are they upright, "
            "frontal talking faces?"
        )
    heads = head_frames(done)
    faces = neutral_faces(done, heads)
    arrays: dict[str, NDArray[Any]] = {"triangles": face_triangles()}
    arrays |= {f"face/{speaker}": face for speaker, face in faces.items()}
    for clip, head in heads.items():
        flat = [np.atleast_1d(head.scale), head.rotation.ravel(), head.translation.ravel()]
        arrays[f"head/{clip.utterance_id}"] = np.concatenate(flat)
    path = folder / "tracked" / system.name / "faces.npz"
    with write_atomically(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    return without


def film_motion(
    film: TrackedFilm, folder: Path, system: System, utterance: Utterance
) -> Motion | None:
    """The tracked face as a motion on its speaker's neutral face; None without a face."""
    from avsr.video import Similarity

    if not len(film.vertices):
        return None
    with np.load(folder / "tracked" / system.name / "faces.npz", allow_pickle=False) as there:
        flat = there[f"head/{utterance.utterance_id}"]
        neutral, triangles = there[f"face/{utterance.speaker_id}"], there["triangles"]
    head = Similarity(np.asarray(flat[0]), flat[1:10].reshape(3, 3), flat[10:])
    face = FaceTemplate(TOPOLOGY, neutral, triangles, face_regions(triangles))
    return Motion(move(film.vertices, head), FPS, face)
