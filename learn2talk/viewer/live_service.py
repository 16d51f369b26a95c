"""What the pages of a live face share: one student, the thread that computes, figures, log."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.files import write_jsonl
from avsr.units import SAMPLE_RATE_HZ, VIDEO_FPS
from learn2talk.files import TrainedStudent
from learn2talk.schema import FaceTemplate
from learn2talk.streaming import LiveFace
from learn2talk.viewer.live_figures import LiveFigures


class LiveService:
    """What all connections share: student, file, the thread that computes, figures, log.

    Args:
        student: from `learn2talk.files.load_student`; it must stream.
        look_ahead_frames: as in `LiveFace`.
        template: neutral face to move, of the student's topology; None takes the student's own.
        sound: float32 (S,) at 16 kHz in [-1, 1], the file that a page may play; None: no file.
        sound_name: its name, for the page.
        log: JSON lines, written when a connection ends: what the pages report ("kind" "report"),
            and the connection's figures at the end of each utterance ("finished").

    Raises:
        ValueError: a student that cannot stream, a look-ahead that it has not, or a template of
            another topology.
    """

    def __init__(
        self,
        student: TrainedStudent,
        look_ahead_frames: int | None = None,
        template: FaceTemplate | None = None,
        sound: NDArray[np.float32] | None = None,
        sound_name: str = "",
        log: Path | None = None,
    ) -> None:
        self.student, self.template = student, template
        self.look_ahead_frames = look_ahead_frames
        self.sound, self.sound_name, self.log = sound, sound_name, log
        first = self.new_face()
        self.algorithmic_ms, self.animated_ids = first.latency_ms, first.animated_ids
        self.figures = LiveFigures(self.algorithmic_ms)  # of the connections that have ended
        self.rows: list[dict[str, Any]] = []  # of the log
        # One thread: the networks are small, and sessions take turns by their pieces of sound.
        # The number of torch's threads belongs to the thread that sets it.
        self.pool = ThreadPoolExecutor(1, "live_face", torch.set_num_threads, (1,))

    def new_face(self) -> LiveFace:
        """A face at rest that has heard nothing."""
        return LiveFace(self.student, self.template, look_ahead_frames=self.look_ahead_frames)

    def ready(self) -> dict[str, Any]:
        """What a page is told first."""
        file = None
        if self.sound is not None:
            seconds = len(self.sound) / SAMPLE_RATE_HZ
            file = {"name": self.sound_name, "duration_s": seconds}
        return {
            "kind": "ready",
            "fps": VIDEO_FPS,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "algorithmic_ms": self.algorithmic_ms,
            "animated_ids": self.animated_ids.tolist(),
            "file": file,
        }

    def note(self, kind: str, connection: int, utterance: int, values: dict[str, Any]) -> None:
        """Add a row to the log, where one was asked for."""
        if self.log is not None:
            place = {"connection": connection, "utterance": utterance, "at_s": time.time()}
            self.rows.append({"kind": kind, **place, **values})

    def write_log(self) -> None:
        """Write every row so far, where a log was asked for."""
        if self.log is not None:
            write_jsonl(self.log, self.rows)

    def close(self) -> None:
        """Stop the thread that computes."""
        self.pool.shutdown(cancel_futures=True)
