"""Speed of the student, of drawing faces and mouths, and of face tracking."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avsr.files import read_video, write_video
from avsr.units import VIDEO_FPS
from benchmarks.timing.clock import Row, Work, measure
from benchmarks.timing.recognition import speech_like
from learn2talk.animate import displacement_of
from learn2talk.drawing import render_frames, render_mouth_crops
from learn2talk.files import TrainedStudent, load_student
from learn2talk.head import build_head
from learn2talk.models.student import Student, StudentConfig


def student_of(folder: Path | None) -> tuple[TrainedStudent, str]:
    """A student, and what it is in words."""
    if folder is not None:
        return load_student(folder), f"trained, {folder.name}"
    torch.manual_seed(0)
    template = build_head().template
    ids = np.asarray(template.regions["lower_face"], dtype=np.int32)
    model = Student(StudentConfig(), len(ids)).eval()
    return TrainedStudent(model, template, ids, {}), "random weights, default size"


def student(
    calls: int, folder: Path | None = None, lengths_s: tuple[float, ...] = (3.0, 10.0, 60.0)
) -> list[Row]:
    """Speech to motion on one thread, beside the speech encoder that its peers start with."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    trained, _ = student_of(folder)

    def speaks(seconds: float) -> Callable[[], Any]:
        sound = speech_like(seconds)
        return lambda: displacement_of(trained, sound)

    shortest = lengths_s[0]
    work = {
        f"student, {seconds:g} s": Work(speaks(seconds), seconds, "s of sound")
        for seconds in lengths_s
    }
    peer = Wav2Vec2Model(Wav2Vec2Config()).eval()
    sound = torch.from_numpy(speech_like(shortest))[None]

    @torch.no_grad()
    def encodes() -> Any:
        return peer(sound)

    work[f"wav2vec 2.0 base alone (random weights), {shortest:g} s"] = Work(
        encodes, shortest, "s of sound", f"student, {shortest:g} s"
    )
    return measure("Student: speech to motion, one thread", work, calls)


def _talking_head(frames: int) -> tuple[np.ndarray, Any]:
    template = build_head().template
    vertices = np.repeat(template.vertices[None], frames, axis=0)
    opened = 4.0 * np.sin(np.arange(frames, dtype=np.float32)) ** 2  # mm
    vertices[:, template.regions["lower_face"], 1] -= opened[:, None]
    return vertices, template


def drawing(calls: int, frames: int = 75, size: int = 512) -> list[Row]:
    """Drawing, H.264 encoding, both together as a film is made, and mouth crops."""
    vertices, template = _talking_head(frames)
    drawn = list(render_frames(vertices, template, size=size))
    both = "drawn and encoded"

    def draw(threads: int) -> Callable[[], Any]:
        return lambda: list(render_frames(vertices, template, size=size, num_threads=threads))

    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"

        def make_film() -> None:
            write_video(film, render_frames(vertices, template, size=size), VIDEO_FPS)

        work = {
            both: Work(make_film, frames, "frames"),
            "drawn, 1 thread": Work(draw(1), frames, "frames", both),
            "drawn, 2 threads": Work(draw(2), frames, "frames", both),
            "encoded (H.264)": Work(
                lambda: write_video(film, iter(drawn), VIDEO_FPS), frames, "frames", both
            ),
        }
        rows = measure(f"Film of the procedural head, {size}x{size}", work, calls)
    crops = Work(lambda: render_mouth_crops(vertices, template), frames, "frames")
    return rows + measure("Mouth crops of the procedural head, 96x96", {"drawn": crops}, calls)


_tracker: Any = None  # one a process of the pool


def _open_tracker(model: Path) -> None:
    global _tracker
    from avsr.tracking import FaceTracker

    _tracker = FaceTracker(model)


def _track(frames: np.ndarray) -> int:
    return int(_tracker.track(frames).tracked.sum())


def tracking(calls: int, data: Path) -> list[Row]:
    """Face landmarks of GRID clips in one process and in two."""
    clips = [read_video(path) for path in sorted((data / "grid" / "s1" / "video").glob("*"))[:4]]
    model = data / "mediapipe_face" / "face_landmarker.task"
    frames = sum(len(clip) for clip in clips)
    work, pools = {}, []
    try:
        for processes in (1, 2):
            pool = ProcessPoolExecutor(processes, get_context("spawn"), _open_tracker, (model,))
            pools.append(pool)

            def follow(pool: ProcessPoolExecutor = pool) -> list[int]:
                return list(pool.map(_track, clips))

            against = None if processes == 1 else "1 process"
            name = f"{processes} process" + ("" if processes == 1 else "es")
            work[name] = Work(follow, frames, "frames", against)
        return measure("Face tracking, GRID 360x288", work, calls)
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)
