"""GRID (Cooke, Barker, Cunningham, Shao, JASA 120(5) 2006): raw clips to a prepared corpus.

Layout read: ``<root>/<speaker>/video/*.mp4|mpg`` with ``<root>/<speaker>/align/*.align`` beside it,
or a flat ``<root>/<speaker>/*.mpg``. One sentence is command, colour, preposition, letter, digit,
adverb; its six-letter file name spells it. Word times are in 1/25000 s.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
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
from avsr.files import read_audio, read_video, sha256_file, write_atomically
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
    crop_mouths,
    fill_missing,
    fit_similarity,
    reject_broken_segments,
    remove_head_pose,
)

ALIGN_UNITS_PER_SECOND = 25_000
SILENCES = ("sil", "sp")
VIDEO_SUFFIXES = (".mp4", ".mpg", ".mpeg", ".mov", ".avi", ".mkv")
LIPS = LIPS_OUTER + LIPS_INNER
CLIP_FORMAT = 1  # of the files under .clips; raise it when tracking gives other numbers

_GRAMMAR: tuple[dict[str, str], ...] = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},  # GRID has no "w"
    dict(
        zip(
            "z123456789",
            ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
            strict=True,
        )
    ),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)


class GridError(ValueError):
    """A GRID folder, clip or list that cannot be used as it is."""


@dataclass(frozen=True)
class Clip:
    """One raw clip: where it is, what is said, which split it belongs to."""

    utterance_id: str
    speaker_id: str
    path: Path
    align: Path | None
    split: str
    text: str | None  # official text of splits.tsv, None where there is no list


@dataclass(frozen=True)
class PrepareConfig:
    """What decides the numbers in a prepared GRID folder.

    max_missing_frames: longest inner gap of the tracker that is interpolated, in frames.
    min_valid_fraction: least share of really tracked frames that a clip needs, 0-1.
    limit: prepare only the first so many clips of each split, ``None`` = all.
    """

    max_missing_frames: int = 12
    min_valid_fraction: float = 0.5
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.max_missing_frames < 0:
            raise GridError(f"max_missing_frames is {self.max_missing_frames}; give 0 or more")
        if not 0.0 <= self.min_valid_fraction <= 1.0:
            raise GridError(f"min_valid_fraction is {self.min_valid_fraction}; give 0 to 1")
        if self.limit is not None and self.limit < 1:
            raise GridError(f"limit is {self.limit}; give 1 or more, or None for all clips")


def text_of_code(code: str) -> str:
    """The sentence that a GRID file name spells: ``"swiz3n"`` is "set white in z three now".

    Raises:
        GridError: not six letters of the grammar.
    """
    if len(code) != len(_GRAMMAR) or any(c not in part for c, part in zip(code, _GRAMMAR)):  # noqa: B905
        raise GridError(
            f"file name {code!r} is not a GRID code (command, colour, preposition, letter, digit, "
            "adverb, like swiz3n); rename the file or give its text in a splits list"
        )
    return " ".join(part[c] for c, part in zip(code, _GRAMMAR, strict=True))


def read_align(path: Path | str) -> list[WordTime]:
    """Word times of an ``.align`` file in seconds, silences ("sil", "sp") included.

    Raises:
        GridError: a line that is not ``start end word``, or times that run backwards.
    """
    path, words, last = Path(path), [], 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"(\d+)\s+(\d+)\s+(\S+)", line.strip())
        if match is None or not last <= int(match[1]) <= int(match[2]):
            raise GridError(
                f"{path}:{number}: {line.strip()!r} is not 'start end word' with ascending times; "
                "copy the file again"
            )
        last = int(match[2])
        start_s, end_s = (int(match[i]) / ALIGN_UNITS_PER_SECOND for i in (1, 2))
        words.append(WordTime(match[3], start_s, end_s))
    if not words:
        raise GridError(f"{path}: has no words; copy the file again")
    return words


def read_splits(path: Path | str) -> dict[str, tuple[str, str]]:
    """A tab-separated list with a header: utterance_id -> (split, text).

    Raises:
        GridError: missing file or columns, an unknown split, or an id that appears twice.
    """
    path, rows = Path(path), {}
    if not path.is_file():
        raise GridError(f"{path}: no such splits list; give a tab-separated file or none")
    lines = path.read_text(encoding="utf-8").splitlines()
    header = lines[0].split("\t") if lines else []
    missing = [name for name in ("utterance_id", "split", "text") if name not in header]
    if missing:
        raise GridError(f"{path}:1: header lacks {', '.join(missing)}; columns are tab-separated")
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        row = dict(zip(header, line.split("\t")))  # noqa: B905  trailing empty notes may be cut
        utterance_id, split, text = (row.get(k, "") for k in ("utterance_id", "split", "text"))
        if split not in SPLITS:
            raise GridError(
                f"{path}:{number}: split {split!r} of {utterance_id} is not one of "
                f"{', '.join(SPLITS)}"
            )
        if utterance_id in rows:
            raise GridError(f"{path}:{number}: {utterance_id} is listed twice; keep one line")
        rows[utterance_id] = (split, text)
    return rows


def split_of_id(utterance_id: str) -> str:
    """A fixed 80/10/10 split by a hash of the id: speaker-dependent, the same on every machine."""
    bucket = hashlib.sha256(utterance_id.encode()).digest()[0] * 10 // 256
    return {8: "valid", 9: "test"}.get(bucket, "train")


def find_clips(
    root: Path | str, splits_tsv: Path | str | None = None
) -> tuple[list[Clip], list[dict[str, Any]]]:
    """All clips under ``root`` in the order of their ids, and those that cannot be taken.

    Returns:
        clips, and ``{"utterance_id", "path", "reason"}`` of files that the list does not name and
        of names in the list without a file.

    Raises:
        GridError: no clip at all, or two files with one id.
    """
    root = Path(root)
    files = [
        path
        for path in sorted({*root.glob("*/video/*"), *root.glob("*/*")})
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
    ]
    if not files:
        raise GridError(
            f"{root}: no clips found; expected <speaker>/video/*.mp4 or *.mpg, or <speaker>/*.mpg"
        )
    splits = read_splits(splits_tsv) if splits_tsv is not None else None
    clips: dict[str, Clip] = {}
    skipped: list[dict[str, Any]] = []
    for path in files:
        folder = path.parent.parent if path.parent.name == "video" else path.parent
        utterance_id = f"{folder.name}/{path.stem}"
        align = folder / "align" / f"{path.stem}.align"
        if utterance_id in clips:
            raise GridError(
                f"{path}: utterance id {utterance_id} is also {clips[utterance_id].path}; "
                "keep one of the two files"
            )
        split, text = split_of_id(utterance_id), None
        if splits is not None:
            if utterance_id not in splits:
                reason = f"{path}: not listed in {splits_tsv}; add a line to use it"
                skipped.append(_skip(utterance_id, path, reason))
                continue
            split, text = splits[utterance_id]
        clips[utterance_id] = Clip(
            utterance_id, folder.name, path, align if align.is_file() else None, split, text
        )
    for utterance_id in sorted(set(splits or ()) - set(clips)):
        reason = f"{splits_tsv}: lists {utterance_id}, but {root} has no such clip; copy it there"
        skipped.append(_skip(utterance_id, root / utterance_id, reason))
    return sorted(clips.values(), key=lambda clip: clip.utterance_id), skipped


def _skip(utterance_id: str, path: Path, reason: str) -> dict[str, Any]:
    return {"utterance_id": utterance_id, "path": str(path), "reason": reason}


def words_and_text(clip: Clip) -> tuple[list[WordTime], list[WordTime], str]:
    """Spoken words, silences, and the text, after every source of text has been compared.

    Raises:
        GridError: list, align file and file name do not say the same words.
    """
    timed = read_align(clip.align) if clip.align is not None else []
    words = [word for word in timed if word.word not in SILENCES]
    texts: dict[str, str] = {}
    if clip.text is not None:
        texts["the splits list"] = clip.text
    if clip.align is not None:
        texts[str(clip.align)] = " ".join(word.word for word in words)
    try:
        texts["its file name"] = text_of_code(clip.path.stem)
    except GridError:
        if not texts:
            raise
    if len(set(texts.values())) > 1:
        said = "; ".join(f"{source} says {text!r}" for source, text in texts.items())
        raise GridError(f"{clip.path}: {said}; correct the wrong one")
    return words, [word for word in timed if word.word in SILENCES], next(iter(texts.values()))


def fit_audio(waveform: np.ndarray, num_frames: int, path: Path | str) -> np.ndarray:
    """Cut or zero-pad float32 (S,) at its end to exactly ``640 * num_frames`` samples.

    Raises:
        GridError: sound and picture differ by more than one frame.
    """
    wanted = SAMPLES_PER_FRAME * num_frames
    if abs(len(waveform) - wanted) > SAMPLES_PER_FRAME:
        raise GridError(
            f"{path}: {num_frames} video frames at {VIDEO_FPS} fps need {wanted} audio samples "
            f"± {SAMPLES_PER_FRAME}, found {len(waveform)}; check that both streams are complete"
        )
    return np.pad(waveform[:wanted], (0, max(0, wanted - len(waveform))))


def prepare_clip(clip: Clip, tracker: FaceTracker, config: PrepareConfig) -> dict[str, Any]:
    """Everything that one clip gives, as arrays ready for ``numpy.savez``.

    Raises:
        ValueError: the clip cannot be used; the message is the reason in skipped.jsonl.
    """
    words, silences, text = words_and_text(clip)
    frames = read_video(clip.path, VIDEO_FPS)
    audio = fit_audio(read_audio(clip.path, SAMPLE_RATE_HZ), len(frames), clip.path)
    track = tracker.track(frames)
    valid = reject_broken_segments(frames, track.tracked)
    if not track.tracked.any():
        raise GridError(
            f"{clip.path}: no face found in any of {len(frames)} frames; "
            "is it an upright, frontal talking face?"
        )
    if valid.sum() < max(1.0, config.min_valid_fraction * len(frames)):
        raise GridError(
            f"{clip.path}: a face in only {valid.sum()} of {len(frames)} frames "
            f"({track.tracked.sum() - valid.sum()} detections in broken pictures not counted), "
            f"min_valid_fraction is {config.min_valid_fraction}; lower it or leave the clip out"
        )
    landmarks, bridged = fill_missing(
        track.landmarks.astype(np.float64), valid, config.max_missing_frames
    )
    vertices, _ = remove_head_pose(landmarks, HEAD, tracked=valid)
    crops = crop_mouths(frames, landmarks, HEAD, LIPS)
    crops[~bridged] = 0  # held landmarks do not say where the mouth is
    silent = np.zeros(len(frames), bool)
    for span in silences:
        silent[int(np.ceil(span.start_s * VIDEO_FPS)) : int(span.end_s * VIDEO_FPS)] = True
    return {
        "audio": np.clip(audio, -1.0, 1.0).astype(np.float32),
        "mouth_crops": crops,
        "vertices": vertices.astype(np.float32),
        "video_valid": valid,
        "silent": silent if clip.align is not None else np.ones(len(frames), bool),
        "words": np.array(json.dumps([asdict(word) for word in words])),
        "text": np.array(text),
        "note": np.array(track.note),
        "untrusted": np.array(int(track.tracked.sum() - valid.sum())),
    }


_worker: dict[str, Any] = {}  # one process's tracker, loaded once


def _start_worker(landmarker_model: Path) -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:  # a worker whose parent was killed must not stay behind

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
    _worker["tracker"] = FaceTracker(landmarker_model)


def _run_clip(clip: Clip, target: Path, config: PrepareConfig) -> str | None:
    """Prepare one clip into ``target``; returns the reason where it cannot be used."""
    try:
        arrays = prepare_clip(clip, _worker["tracker"], config)
    except ValueError as error:
        return str(error)
    with write_atomically(target) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
    return None


def _run_clips(
    todo: list[tuple[Clip, Path]],
    config: PrepareConfig,
    landmarker_model: Path,
    num_processes: int,
    progress: bool,
) -> Iterator[tuple[Clip, str | None]]:
    import multiprocessing

    from tqdm import tqdm

    bar = tqdm(total=len(todo), desc="track", unit="clip", disable=not progress)
    with closing(bar):
        if num_processes == 1:
            _start_worker(landmarker_model)
            with _worker.pop("tracker") as tracker:
                _worker["tracker"] = tracker
                for clip, target in todo:
                    yield clip, _run_clip(clip, target, config)
                    bar.update()
            return
        with ProcessPoolExecutor(
            num_processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(landmarker_model,),
        ) as pool:
            futures = {pool.submit(_run_clip, clip, path, config): clip for clip, path in todo}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
                    bar.update()
            except BrokenProcessPool as error:
                raise GridError(
                    "a tracking process died (out of memory, or killed); run the same command "
                    "again, finished clips are kept"
                ) from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def prepare(
    root: Path | str,
    out: Path | str,
    *,
    landmarker_model: Path | str,
    splits_tsv: Path | str | None = None,
    num_processes: int = 2,
    config: PrepareConfig | None = None,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Raw GRID to a prepared corpus (`avsr.data.manifest`); resumable clip by clip.

    Every clip that is done lies in ``<out>/.clips``; a run that was stopped in any way continues
    there, and the folder goes away when the corpus is complete. A finished ``out`` returns at once.
    Vertices of all clips of a speaker share one head frame and scale (see :func:`_align_clips`).

    Args:
        root: folder of speakers. out: folder to write.
        landmarker_model: face_landmarker.task.
        splits_tsv: list of utterance_id, split, text; ``None`` = a fixed hash split (80/10/10).
        num_processes: tracking processes, 1 or more (1 = in this process).
        config: what decides the numbers.
        progress: show a progress bar. say: receives the lines for the user.

    Returns:
        ``out``.

    Raises:
        GridError: nothing usable, or ``out`` was finished with another configuration.
        TrackingError: MediaPipe or its model is missing or another version.
    """
    root, out, config = Path(root), Path(out), config or PrepareConfig()
    if num_processes < 1:
        raise GridError(f"num_processes is {num_processes}; give 1 or more")
    settings = {**asdict(config), "clip_format": CLIP_FORMAT}
    settings["splits_sha256"] = sha256_file(splits_tsv) if splits_tsv is not None else None
    if is_prepared(out):
        if load_info(out).get("config") != settings:
            raise GridError(
                f"{out}: is finished with {load_info(out).get('config')}, asked for {settings}; "
                "give another folder"
            )
        say(f"{out}: prepared already")
        return out
    check_landmarker(landmarker_model)
    clips, skipped = find_clips(root, splits_tsv)
    if splits_tsv is None:
        say("no splits list: hash split 80/10/10 by utterance, speaker-dependent")
    if config.limit is not None:
        clips, beyond = _first_of_each_split(clips, config.limit)
        skipped += [_skip(c.utterance_id, c.path, f"beyond limit {config.limit}") for c in beyond]
    folder = out / ".clips" / _fingerprint(config)
    folder.mkdir(parents=True, exist_ok=True)
    targets = {clip: folder / f"{clip.utterance_id.replace('/', '__')}.npz" for clip in clips}
    todo = [(clip, target) for clip, target in targets.items() if not target.is_file()]
    say(f"{root}: {len(clips)} clips, {len(clips) - len(todo)} of them done before")
    if todo:
        for clip, reason in _run_clips(
            todo, config, Path(landmarker_model), min(num_processes, len(todo)), progress
        ):
            if reason is not None:
                skipped.append(_skip(clip.utterance_id, clip.path, reason))
    done = {clip: target for clip, target in targets.items() if target.is_file()}
    _assemble(root, out, done, skipped, settings)
    shutil.rmtree(out / ".clips", ignore_errors=True)
    say(f"{out}: {len(done)} clips prepared, {len(skipped)} skipped (reasons in skipped.jsonl)")
    return out


def _first_of_each_split(clips: list[Clip], limit: int) -> tuple[list[Clip], list[Clip]]:
    kept: list[Clip] = []
    for split in SPLITS:
        kept += [clip for clip in clips if clip.split == split][:limit]
    return kept, [clip for clip in clips if clip not in kept]


def _fingerprint(config: PrepareConfig) -> str:
    decides = {**asdict(config), "format": CLIP_FORMAT, "model": LANDMARKER_SHA256}
    del decides["limit"]  # chooses clips, does not change them
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]


def _assemble(
    root: Path,
    out: Path,
    done: dict[Clip, Path],
    skipped: list[dict[str, Any]],
    settings: dict[str, Any],
) -> None:
    if not done:
        reason = skipped[0]["reason"] if skipped else "no clips"
        raise GridError(f"{root}: none of {len(skipped)} clips is usable; the first: {reason}")
    vertices: dict[Clip, np.ndarray] = _align_clips(done)
    triangles = face_triangles()
    faces = FaceTemplates(TOPOLOGY, triangles, face_regions(triangles), _templates(done, vertices))
    notes, untrusted = {}, 0
    for clip, path in done.items():
        with np.load(path) as arrays:
            untrusted += int(arrays["untrusted"])
            if str(arrays["note"]):
                notes[clip.utterance_id] = str(arrays["note"])

    def rows(split: str) -> Iterator[dict[str, Any]]:
        for clip, path in done.items():
            if clip.split == split:
                yield encode_utterance(_utterance(clip, path, vertices[clip], root))

    info = {
        "name": "grid",
        "fps": VIDEO_FPS,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "speaker_dependent": True,
        "config": settings,
        "counts": {"detections_rejected": untrusted, "several_faces": len(notes)},
        "notes": notes,
        "versions": {name: _version(name) for name in ("mediapipe", "av", "numpy", "datasets")},
        "inputs": {"landmarker_sha256": LANDMARKER_SHA256},
    }
    save_prepared(out, {split: rows(split) for split in SPLITS}, faces, info, skipped)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _utterance(clip: Clip, path: Path, vertices: np.ndarray, root: Path) -> PreparedUtterance:
    with np.load(path) as arrays:
        return PreparedUtterance(
            utterance_id=clip.utterance_id,
            speaker_id=clip.speaker_id,
            text=str(arrays["text"]),
            audio=arrays["audio"],
            mouth_crops=arrays["mouth_crops"],
            lips=np.ascontiguousarray(vertices[:, list(LIPS)]),
            vertices=vertices,
            video_valid=arrays["video_valid"],
            words=tuple(WordTime(**word) for word in json.loads(str(arrays["words"]))),
            phones=(),
            num_frames=len(vertices),
            num_samples=len(arrays["audio"]),
            source=str(clip.path.relative_to(root)),
        )


def _align_clips(done: dict[Clip, Path]) -> dict[Clip, np.ndarray]:
    """Vertices float32 (T, 478, 3) mm of every clip in its speaker's one head frame and scale.

    The scale and tilt that a single clip gives are noisy. The mean of the stable points over the
    speaker's training clips (all clips where there is none) is the reference; each clip is brought
    to it by one similarity transform.
    """
    stored: dict[Clip, np.ndarray] = {}
    heads: dict[Clip, np.ndarray] = {}
    for clip, path in done.items():
        with np.load(path) as arrays:
            stored[clip] = arrays["vertices"]
            heads[clip] = stored[clip][arrays["video_valid"]][:, list(HEAD.stable)].mean(0)
    for speaker in sorted({clip.speaker_id for clip in done}):
        own = [clip for clip in done if clip.speaker_id == speaker]
        training = [clip for clip in own if clip.split == "train"] or own
        reference = np.mean([heads[clip] for clip in training], axis=0)
        for clip in own:
            moved = fit_similarity(heads[clip], reference).apply(stored[clip].astype(np.float64))
            stored[clip] = moved.astype(np.float32)
    return stored


def _templates(
    done: dict[Clip, Path], vertices: dict[Clip, np.ndarray], frames_per_clip: int = 3
) -> dict[str, np.ndarray]:
    """Neutral face with closed mouth of each speaker: float32 (478, 3) mm.

    The median over the frames with the smallest lip gaps in the silences of the training clips (all
    frames where there is no align file, all clips where none is for training).
    """
    templates = {}
    upper, lower = LIPS_INNER[15], LIPS_INNER[5]
    for speaker in sorted({clip.speaker_id for clip in done}):
        own = [clip for clip in done if clip.speaker_id == speaker]
        still: list[np.ndarray] = []
        gaps: list[float] = []
        for clip in [clip for clip in own if clip.split == "train"] or own:
            with np.load(done[clip]) as arrays:
                valid = arrays["video_valid"]
                quiet = valid & arrays["silent"]
            chosen = vertices[clip][quiet if quiet.any() else valid]
            gap = np.linalg.norm(chosen[:, upper] - chosen[:, lower], axis=-1)
            for index in np.argsort(gap)[:frames_per_clip]:
                still.append(chosen[index])
                gaps.append(float(gap[index]))
        closed = np.array(gaps) <= np.median(gaps)
        templates[speaker] = np.median(np.stack(still)[closed], axis=0).astype(np.float32)
    return templates
