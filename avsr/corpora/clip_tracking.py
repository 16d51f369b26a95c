"""A film to tracked clips: landmarks, mouth crops and sound of each utterance, kept on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avsr.corpora.clips import CorpusError, Expand, PrepareConfig, TalkingClip, file_stem, skip
from avsr.files import (
    read_audio,
    read_json,
    read_video,
    stream_video,
    write_atomically,
    write_json,
)
from avsr.schema import WordTime
from avsr.text import Tokenizer, text_problem
from avsr.tracking import HEAD, LIPS_INNER, LIPS_OUTER, FaceTracker
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_FPS
from avsr.video import (
    crop_mouths,
    fill_missing,
    head_poses,
    reject_broken_segments,
    remove_head_pose,
)

LIPS = LIPS_OUTER + LIPS_INNER
AAC_BLOCK_SAMPLES = 1024  # AAC codes whole blocks; decoders give the last one in full


@dataclass(frozen=True)
class TrackingJob:
    """What every tracking process needs to know.

    folder: of the tracked clips. expand: see `avsr.corpora.clips.Expand`; ``None`` = each film is
    one utterance. tokenizer: serialised SentencePiece model against which the training texts are
    checked, ``None`` = only empty texts are refused.
    """

    folder: Path
    config: PrepareConfig
    landmarker_model: Path
    expand: Expand | None = None
    tokenizer: bytes | None = None

    def clip_path(self, utterance_id: str) -> Path:
        """The file of a tracked utterance."""
        return self.folder / f"{file_stem(utterance_id)}.npz"

    def film_path(self, film: TalkingClip) -> Path:
        """The file that says a film is finished, and what it gave."""
        return self.folder / f"{file_stem(film.utterance_id)}.json"

    def result(self, film: TalkingClip) -> dict[str, Any] | None:
        """What a finished film gave: utterances, skipped, notes; ``None`` = not finished.

        A film that has changed on disk since then (a broken copy made good) is not finished.
        """
        path = self.film_path(film)
        if not path.is_file():
            return None
        found: dict[str, Any] = read_json(path)
        whole = all(self.clip_path(name).is_file() for name in found["utterances"])
        return found if whole and found["file"] == _file_facts(film.path) else None


def _file_facts(path: Path) -> list[int]:
    try:
        facts = path.stat()
    except OSError:
        return []
    return [facts.st_size, facts.st_mtime_ns]


def fit_audio(waveform: np.ndarray, num_frames: int, path: Path | str) -> np.ndarray:
    """Cut or zero-pad float32 (S,) at its end to exactly ``640 * num_frames`` samples.

    Raises:
        CorpusError: sound and picture differ by more than one frame (and, where the sound is
            longer, the silence with which AAC fills its last block).
    """
    wanted = SAMPLES_PER_FRAME * num_frames
    excess = len(waveform) - wanted
    if not -SAMPLES_PER_FRAME <= excess <= SAMPLES_PER_FRAME + AAC_BLOCK_SAMPLES:
        raise CorpusError(
            f"{path}: {num_frames} video frames at {VIDEO_FPS} fps need {wanted} audio samples "
            f"± {SAMPLES_PER_FRAME}, found {len(waveform)}; check that both streams are complete"
        )
    return np.pad(waveform[:wanted], (0, max(0, wanted - len(waveform))))


def prepare_clip(path: Path, tracker: FaceTracker, config: PrepareConfig) -> dict[str, np.ndarray]:
    """Everything that one whole film gives (see :func:`prepare_frames`).

    Raises:
        ValueError: the clip cannot be used; the message is the reason in skipped.jsonl.
    """
    frames = read_video(path, VIDEO_FPS)
    audio = fit_audio(read_audio(path, SAMPLE_RATE_HZ), len(frames), path)
    return prepare_frames(frames, audio, path, tracker, config)


def prepare_frames(
    frames: np.ndarray, audio: np.ndarray, path: Path, tracker: FaceTracker, config: PrepareConfig
) -> dict[str, np.ndarray]:
    """Everything that one utterance gives, as arrays ready for ``numpy.savez``.

    Args:
        frames: uint8 RGB (T, H, W, 3). audio: float32 (640 T,). path: named in errors.

    Returns:
        audio, mouth_crops, vertices, head_pose, video_valid as in `PreparedUtterance` (vertices in
        the clip's own head frame); note str (); untrusted int (): detections in broken pictures.

    Raises:
        ValueError: the clip cannot be used; the message is the reason in skipped.jsonl.
    """
    track = tracker.track(frames)
    if not track.tracked.any():
        raise CorpusError(
            f"{path}: no face found in any of {len(frames)} frames; "
            "is it an upright, frontal talking face?"
        )
    valid = reject_broken_segments(frames, track.tracked)
    untrusted = int(track.tracked.sum() - valid.sum())
    if valid.sum() < max(1.0, config.min_valid_fraction * len(frames)):
        raise CorpusError(
            f"{path}: a face in only {valid.sum()} of {len(frames)} frames ({untrusted} detections "
            f"in broken pictures not counted), min_valid_fraction is {config.min_valid_fraction}; "
            "lower it or leave the clip out"
        )
    landmarks, bridged = fill_missing(
        track.landmarks.astype(np.float64), valid, config.max_missing_frames
    )
    vertices, to_head = remove_head_pose(landmarks, HEAD, tracked=valid)
    crops = crop_mouths(frames, landmarks, HEAD, LIPS)
    crops[~bridged] = 0  # held landmarks do not say where the mouth is
    return {
        "audio": np.clip(audio, -1.0, 1.0).astype(np.float32),
        "mouth_crops": crops,
        "vertices": vertices.astype(np.float32),
        "head_pose": head_poses(to_head, valid).astype(np.float32),
        "video_valid": valid,
        "note": np.array(track.note),
        "untrusted": np.array(untrusted),
    }


def frame_edges(span_s: tuple[float, float]) -> tuple[int, int]:
    """First frame and the one after the last of a stretch: every frame that it touches."""
    return int(span_s[0] * VIDEO_FPS + 1e-6), math.ceil(span_s[1] * VIDEO_FPS - 1e-6)


def frames_between(
    frames: Iterable[np.ndarray], edges: Sequence[tuple[int, int]]
) -> Iterator[np.ndarray]:
    """``frames[first:last]`` of each pair, in one pass; only open stretches are in memory.

    Args:
        frames: uint8 (H, W, 3), one after the other.
        edges: (first, last) frames with ascending first; stretches may overlap.

    Yields:
        uint8 (T, H, W, 3), shorter where the frames end earlier: (0,) after their end.
    """
    held: dict[int, np.ndarray] = {}
    numbered = enumerate(frames)
    for first, last in edges:
        held = {k: frame for k, frame in held.items() if k >= first}
        while last - 1 > max(held, default=-1):
            k, frame = next(numbered, (-1, np.zeros(0)))
            if k < 0:
                break
            if k >= first:  # frames between stretches are passed over
                held[k] = frame
        chosen = [held[k] for k in range(first, last) if k in held]
        yield np.stack(chosen) if chosen else np.zeros(0, np.uint8)


def _stretches(
    film: TalkingClip, clips: list[TalkingClip]
) -> Iterator[tuple[TalkingClip, np.ndarray, np.ndarray]]:
    """Each utterance of a film with its frames (T, H, W, 3) and its sound (640 T,)."""
    if all(clip.span_s is None for clip in clips):
        frames = read_video(film.path, VIDEO_FPS)
        audio = fit_audio(read_audio(film.path, SAMPLE_RATE_HZ), len(frames), film.path)
        for clip in clips:
            yield clip, frames, audio
        return
    audio = read_audio(film.path, SAMPLE_RATE_HZ)
    spans = {clip: clip.span_s for clip in clips if clip.span_s is not None}
    ordered = sorted(spans, key=lambda clip: spans[clip])
    edges = [frame_edges(spans[clip]) for clip in ordered]
    pictures = frames_between(stream_video(film.path, VIDEO_FPS), edges)
    for clip, (first, _), frames in zip(ordered, edges, pictures, strict=True):
        if not len(frames):
            raise CorpusError(
                f"{film.path}: ends before {spans[clip][0]:.2f} s, where {clip.utterance_id} "
                "should begin; check the times"
            )
        heard = audio[first * SAMPLES_PER_FRAME : (first + len(frames)) * SAMPLES_PER_FRAME]
        if len(heard) < (len(frames) - 1) * SAMPLES_PER_FRAME:
            raise CorpusError(
                f"{film.path}: sound ends after {len(audio) / SAMPLE_RATE_HZ:.2f} s, within or "
                f"before {clip.utterance_id}; check that both streams are complete"
            )
        yield clip, frames, np.pad(heard, (0, len(frames) * SAMPLES_PER_FRAME - len(heard)))


def _labelled(film: TalkingClip, expand: Expand | None) -> tuple[list[TalkingClip], list[Any]]:
    if expand is None:
        return [film], []
    try:
        return expand(film)
    except ValueError as error:
        return [], [skip(film.utterance_id, film.path, str(error))]


def run_film(
    film: TalkingClip, job: TrackingJob, tracker: FaceTracker, tokenizer: Tokenizer | None
) -> None:
    """Track a film's utterances, each into a file, then write what the film gave."""
    clips, skipped = _labelled(film, job.expand)
    kept: list[str] = []
    notes: dict[str, str] = {}
    usable = []
    for clip in clips:
        problem = text_problem(clip.text, None, None)
        if problem is None:
            usable.append(clip)
        else:
            skipped.append(skip(clip.utterance_id, film.path, f"{film.path}: {problem}"))
    started: list[str] = []
    try:
        for clip, frames, audio in _stretches(film, usable):
            started.append(clip.utterance_id)
            problem = text_problem(clip.text, len(frames), tokenizer)
            if problem is not None and clip.split == "train":
                skipped.append(skip(clip.utterance_id, film.path, f"{film.path}: {problem}"))
                continue
            try:
                arrays = prepare_frames(frames, audio, film.path, tracker, job.config)
            except ValueError as error:
                skipped.append(skip(clip.utterance_id, film.path, str(error)))
                continue
            if problem is not None:  # a test counts what training could not learn from
                notes[clip.utterance_id] = problem
            with write_atomically(job.clip_path(clip.utterance_id)) as temporary:
                np.savez(temporary, allow_pickle=False, clip=_to_json(clip), **arrays)
            kept.append(clip.utterance_id)
    except ValueError as error:  # the film itself: its remaining utterances are lost with it
        lost = [clip for clip in usable if clip.utterance_id not in started]
        skipped.extend(skip(clip.utterance_id, film.path, str(error)) for clip in lost or [film])
    facts = {"file": _file_facts(film.path), "utterances": kept, "skipped": skipped}
    write_json(job.film_path(film), {**facts, "notes": notes})


def _to_json(clip: TalkingClip) -> np.ndarray:
    return np.array(json.dumps({**asdict(clip), "path": str(clip.path)}))


def load_clip(path: Path) -> TalkingClip:
    """The utterance that a tracked clip's file is about."""
    with np.load(path, allow_pickle=False) as arrays:
        stored = json.loads(str(arrays["clip"]))
    stored["path"] = Path(stored["path"])
    stored["words"] = tuple(WordTime(**word) for word in stored["words"])
    if stored["silences"] is not None:
        stored["silences"] = tuple(WordTime(**span) for span in stored["silences"])
    if stored["span_s"] is not None:
        stored["span_s"] = tuple(stored["span_s"])
    return TalkingClip(**stored)
