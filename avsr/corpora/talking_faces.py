"""Talking-face clips of any corpus to a prepared corpus: track, crop, one head frame a speaker.

A corpus module lists its clips with their text; everything that follows is here. Each finished clip
is one file in ``<out>/.clips``, so a run that was stopped in any way continues, and ``kill -9``
loses at most the clip that each process was at.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from avsr.data.manifest import (
    SPLITS,
    FaceTemplates,
    PreparedUtterance,
    encode_utterance,
    is_prepared,
    load_info,
    save_prepared,
)
from avsr.files import read_audio, read_video, write_atomically
from avsr.schema import WordTime
from avsr.tracking import (
    HEAD,
    LANDMARKER_SHA256,
    LIPS_INNER,
    LIPS_OUTER,
    TOPOLOGY,
    FaceTracker,
    check_landmarker,
    face_regions,
    face_triangles,
)
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_FPS
from avsr.video import (
    Similarity,
    crop_mouths,
    fill_missing,
    fit_similarity,
    reject_broken_segments,
    remove_head_pose,
)

LIPS = LIPS_OUTER + LIPS_INNER
AAC_BLOCK_SAMPLES = 1024  # AAC codes whole blocks; decoders give the last one in full
CLIP_FORMAT = 1  # of the files under .clips; raise it when tracking gives other numbers


class CorpusError(ValueError):
    """A corpus or clip that cannot be prepared as it is."""


@dataclass(frozen=True)
class TalkingClip:
    """One raw clip with what is known about it.

    source: its name within the corpus. silences: spans without speech, ``None`` = unknown.
    """

    utterance_id: str
    speaker_id: str
    path: Path
    source: str
    split: str
    text: str
    words: tuple[WordTime, ...] = ()
    silences: tuple[WordTime, ...] | None = None

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise CorpusError(
                f"{self.path}: split {self.split!r} is not one of {', '.join(SPLITS)}"
            )


@dataclass(frozen=True)
class PrepareConfig:
    """What decides the numbers in a prepared folder of talking faces.

    max_missing_frames: longest inner gap of the tracker that is interpolated, in frames.
    min_valid_fraction: least share of really tracked frames that a clip needs, 0-1.
    limit: prepare only the first so many clips of each split, ``None`` = all.
    """

    max_missing_frames: int = 12
    min_valid_fraction: float = 0.5
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.max_missing_frames < 0:
            raise CorpusError(f"max_missing_frames is {self.max_missing_frames}; give 0 or more")
        if not 0.0 <= self.min_valid_fraction <= 1.0:
            raise CorpusError(f"min_valid_fraction is {self.min_valid_fraction}; give 0 to 1")
        if self.limit is not None and self.limit < 1:
            raise CorpusError(f"limit is {self.limit}; give 1 or more, or None for all clips")


def skip(utterance_id: str, path: Path, reason: str) -> dict[str, Any]:
    """A row of skipped.jsonl."""
    return {"utterance_id": utterance_id, "path": str(path), "reason": reason}


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
    """Everything that one clip gives, as arrays ready for ``numpy.savez``.

    Returns:
        audio, mouth_crops, vertices, video_valid as in `PreparedUtterance` (vertices in the clip's
        own head frame); note str (); untrusted int (): detections in broken pictures.

    Raises:
        ValueError: the clip cannot be used; the message is the reason in skipped.jsonl.
    """
    frames = read_video(path, VIDEO_FPS)
    audio = fit_audio(read_audio(path, SAMPLE_RATE_HZ), len(frames), path)
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
    vertices, _ = remove_head_pose(landmarks, HEAD, tracked=valid)
    crops = crop_mouths(frames, landmarks, HEAD, LIPS)
    crops[~bridged] = 0  # held landmarks do not say where the mouth is
    return {
        "audio": np.clip(audio, -1.0, 1.0).astype(np.float32),
        "mouth_crops": crops,
        "vertices": vertices.astype(np.float32),
        "video_valid": valid,
        "note": np.array(track.note),
        "untrusted": np.array(untrusted),
    }


_worker: dict[str, FaceTracker] = {}  # one process's tracker, loaded once


def _start_worker(landmarker_model: Path) -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

        def follow() -> None:  # a worker whose parent was killed must not stay behind
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
    _worker["tracker"] = FaceTracker(landmarker_model)


def _run_clip(path: Path, target: Path, config: PrepareConfig) -> str | None:
    """Prepare one clip into ``target``; returns the reason where it cannot be used."""
    try:
        arrays = prepare_clip(path, _worker["tracker"], config)
    except ValueError as error:
        return str(error)
    with write_atomically(target) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    return None


def _run_clips(
    todo: list[tuple[TalkingClip, Path]],
    config: PrepareConfig,
    landmarker_model: Path,
    num_processes: int,
) -> Iterator[tuple[TalkingClip, str | None]]:
    """Prepare clips in any order; yields each with its reason where it cannot be used."""
    import multiprocessing

    if num_processes == 1:
        _start_worker(landmarker_model)
        try:
            for clip, target in todo:
                yield clip, _run_clip(clip.path, target, config)
        finally:
            _worker.pop("tracker").close()
        return
    with ProcessPoolExecutor(
        num_processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(landmarker_model,),
    ) as pool:
        futures = {pool.submit(_run_clip, clip.path, target, config): clip for clip, target in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise CorpusError(
                "a tracking process died (out of memory, or killed); run the same command "
                "again, finished clips are kept"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def prepare_talking_faces(
    clips: Sequence[TalkingClip],
    out: Path | str,
    *,
    skipped: Sequence[dict[str, Any]],
    landmarker_model: Path | str,
    num_processes: int,
    config: PrepareConfig,
    info: Mapping[str, Any],
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Track, crop and write ``clips`` as a prepared corpus (`avsr.data.manifest`).

    Vertices of all clips of a speaker share one head frame and scale (see :func:`_head_frames`).
    ``<out>/.clips`` goes away when the corpus is complete. A finished ``out`` returns at once.

    Args:
        clips: what to prepare. out: folder to write.
        skipped: clips that the corpus module refused already (:func:`skip`).
        landmarker_model: face_landmarker.task.
        num_processes: tracking processes, 1 or more (1 = in this process).
        config: what decides the numbers.
        info: facts for corpus.json.
        progress: show a progress bar. say: receives the lines for the user.

    Returns:
        ``out``.

    Raises:
        CorpusError: no clip is usable, or ``out`` was finished with another configuration.
        TrackingError: MediaPipe or its model is missing or another version.
    """
    from tqdm import tqdm

    out, refused = Path(out), list(skipped)
    if num_processes < 1:
        raise CorpusError(f"num_processes is {num_processes}; give 1 or more")
    facts = {**info, "config": {**asdict(config), "clip_format": CLIP_FORMAT}}
    if is_prepared(out):
        _check_same(out, facts)
        say(f"{out}: prepared already")
        return out
    check_landmarker(landmarker_model)
    kept = _first_of_each_split(clips, config.limit)
    refused += [
        skip(clip.utterance_id, clip.path, f"beyond the limit of {config.limit} clips a split")
        for clip in clips
        if clip not in kept
    ]
    folder = out / ".clips" / _fingerprint(config)
    targets = {clip: folder / f"{clip.utterance_id.replace('/', '__')}.npz" for clip in kept}
    todo = [(clip, target) for clip, target in targets.items() if not target.is_file()]
    say(f"{out}: {len(kept)} clips, {len(kept) - len(todo)} of them tracked before")
    if todo:
        results = _run_clips(todo, config, Path(landmarker_model), min(num_processes, len(todo)))
        bar = tqdm(results, "track", total=len(todo), unit="clip", disable=not progress)
        refused += [skip(c.utterance_id, c.path, reason) for c, reason in bar if reason is not None]
    done = {clip: target for clip, target in targets.items() if target.is_file()}
    if not done:
        reason = refused[0]["reason"] if refused else "there are no clips"
        raise CorpusError(f"{out}: none of {len(refused)} clips is usable; the first: {reason}")
    _assemble(out, done, refused, facts)
    shutil.rmtree(out / ".clips", ignore_errors=True)
    say(f"{out}: {len(done)} clips prepared, {len(refused)} skipped (reasons in skipped.jsonl)")
    return out


def _check_same(out: Path, facts: Mapping[str, Any]) -> None:
    stored = load_info(out)
    for name, wanted in facts.items():
        if stored.get(name) != wanted:
            raise CorpusError(
                f"{out}: is finished with {name} {stored.get(name)}, asked for {wanted}; "
                "give another folder"
            )


def _first_of_each_split(
    clips: Sequence[TalkingClip], limit: int | None
) -> dict[TalkingClip, None]:
    taken = {clip: None for split in SPLITS for clip in _of_split(clips, split)[:limit]}
    return {clip: None for clip in clips if clip in taken}


def _of_split(clips: Sequence[TalkingClip], split: str) -> list[TalkingClip]:
    return [clip for clip in clips if clip.split == split]


def _fingerprint(config: PrepareConfig) -> str:
    decides = {**asdict(config), "format": CLIP_FORMAT, "model": LANDMARKER_SHA256}
    del decides["limit"]  # chooses clips, does not change them
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]


def _assemble(
    out: Path,
    done: dict[TalkingClip, Path],
    refused: list[dict[str, Any]],
    facts: Mapping[str, Any],
) -> None:
    heads = _head_frames(done)
    triangles = face_triangles()
    faces = FaceTemplates(TOPOLOGY, triangles, face_regions(triangles), _templates(done, heads))
    notes, untrusted = {}, 0
    for clip, path in done.items():
        with np.load(path) as arrays:
            untrusted += int(arrays["untrusted"])
            if str(arrays["note"]):
                notes[clip.utterance_id] = str(arrays["note"])

    def rows(split: str) -> Iterator[dict[str, Any]]:
        for clip in _of_split(list(done), split):
            yield encode_utterance(_utterance(clip, done[clip], heads[clip]))

    info = {
        **facts,
        "fps": VIDEO_FPS,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "counts": {"detections_rejected": untrusted, "several_faces": len(notes)},
        "notes": notes,
        "versions": {name: _version(name) for name in ("mediapipe", "av", "numpy", "datasets")},
        "landmarker_sha256": LANDMARKER_SHA256,
    }
    save_prepared(out, {split: rows(split) for split in SPLITS}, faces, info, refused)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _utterance(clip: TalkingClip, path: Path, head: Similarity) -> PreparedUtterance:
    with np.load(path) as arrays:
        vertices = _move(arrays["vertices"], head)
        return PreparedUtterance(
            utterance_id=clip.utterance_id,
            speaker_id=clip.speaker_id,
            text=clip.text,
            audio=arrays["audio"],
            mouth_crops=arrays["mouth_crops"],
            lips=np.ascontiguousarray(vertices[:, list(LIPS)]),
            vertices=vertices,
            video_valid=arrays["video_valid"],
            words=clip.words,
            phones=(),
            num_frames=len(vertices),
            num_samples=len(arrays["audio"]),
            source=clip.source,
        )


def _move(vertices: np.ndarray, head: Similarity) -> np.ndarray:
    return head.apply(vertices.astype(np.float64)).astype(np.float32)


def _speakers(done: dict[TalkingClip, Path]) -> Iterator[tuple[str, list[TalkingClip]]]:
    """Each speaker with its training clips (all its clips where none is for training)."""
    for speaker in sorted({clip.speaker_id for clip in done}):
        own = [clip for clip in done if clip.speaker_id == speaker]
        yield speaker, _of_split(own, "train") or own


def _head_frames(done: dict[TalkingClip, Path]) -> dict[TalkingClip, Similarity]:
    """For each clip the transform from its own head frame to its speaker's.

    The scale and tilt that a single clip gives are noisy. The mean of the stable points over the
    speaker's training clips is the reference; a clip is brought to it by one similarity transform.
    """
    means: dict[TalkingClip, np.ndarray] = {}
    for clip, path in done.items():
        with np.load(path) as arrays:
            stable = arrays["vertices"][arrays["video_valid"]][:, list(HEAD.stable)]
            means[clip] = stable.astype(np.float64).mean(0)
    references = {
        speaker: np.mean([means[clip] for clip in training], axis=0)
        for speaker, training in _speakers(done)
    }
    return {clip: fit_similarity(means[clip], references[clip.speaker_id]) for clip in done}


def silent_frames(clip: TalkingClip, num_frames: int) -> np.ndarray:
    """bool (T,): True where the whole frame lies in a silence; all True where none is known."""
    silent = np.full(num_frames, clip.silences is None)
    for span in clip.silences or ():
        silent[int(np.ceil(span.start_s * VIDEO_FPS)) : int(span.end_s * VIDEO_FPS)] = True
    return silent


def _templates(
    done: dict[TalkingClip, Path], heads: dict[TalkingClip, Similarity], frames_per_clip: int = 3
) -> dict[str, np.ndarray]:
    """Neutral face with closed mouth of each speaker: float32 (478, 3) mm.

    The median over the frames with the smallest lip gaps in the silences of the training clips.
    """
    templates = {}
    upper, lower = LIPS_INNER[15], LIPS_INNER[5]
    for speaker, training in _speakers(done):
        still: list[np.ndarray] = []
        gaps: list[float] = []
        for clip in training:
            with np.load(done[clip]) as arrays:
                vertices, valid = _move(arrays["vertices"], heads[clip]), arrays["video_valid"]
            quiet = valid & silent_frames(clip, len(valid))
            chosen = vertices[quiet if quiet.any() else valid]
            gap = np.linalg.norm(chosen[:, upper] - chosen[:, lower], axis=-1)
            for index in np.argsort(gap)[:frames_per_clip]:
                still.append(chosen[index])
                gaps.append(float(gap[index]))
        closed = np.array(gaps) <= np.median(gaps)
        templates[speaker] = np.median(np.stack(still)[closed], axis=0).astype(np.float32)
    return templates
