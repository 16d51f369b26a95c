"""One utterance of live speech, without a server: pieces of sound in, frames with their times out.

Messages are binary and little-endian. Sound: a header (float64: when the first sample was captured,
ms on the sender's clock), then mono samples at 16 kHz, int16 or float32. A frame: `FRAME_HEADER`,
then float32 (R, 3), mm: where the animated vertices are.

Axis letters: S samples, V vertices, R animated vertices.
"""

from __future__ import annotations

import math
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_FPS
from learn2talk.streaming import LiveFace

SoundFormat = Literal["int16", "float32"]

SOUND_HEADER = struct.Struct("<d")
# Frame number, R, seconds from the start of the sound to the frame's first sample, when that was
# captured (ms, the sender's clock), when the frame was sent (ms, the server's clock), computing of
# the piece that completed it (ms), frames dropped so far.
FRAME_HEADER = struct.Struct("<IIdddfI")
MAX_PIECE_S = 1.0  # of one message
MAX_MESSAGE_BYTES = SOUND_HEADER.size + 4 * int(MAX_PIECE_S * SAMPLE_RATE_HZ)
LOUDEST = 16.0  # resamplers and gains overshoot 1; beyond this the bytes are not sound
WAITING_LIMIT_S = 1.0  # sound that waits to be computed; what is older is dropped and counted
AT_ONCE_S = 0.4  # computed in one go, so that sessions that share a thread take turns


@dataclass(frozen=True, eq=False)
class SoundPiece:
    """Samples float32 (S,), mono, 16 kHz, and when the first was captured (ms, any clock)."""

    samples: NDArray[np.float32]
    captured_ms: float


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """A frame of the face with its times.

    number: 40 ms steps since the start of the sound, those of dropped sound included. captured_ms:
    when its first sample was captured, on the clock of the pieces. compute_ms: of the call that
    gave it. dropped: frames of sound dropped so far. positions float32 (R, 3), mm.
    """

    number: int
    captured_ms: float
    compute_ms: float
    dropped: int
    positions: NDArray[np.float32]

    def message(self, sent_ms: float) -> bytes:
        """The bytes that are sent; ``sent_ms`` is the server's clock."""
        header = FRAME_HEADER.pack(
            self.number,
            len(self.positions),
            self.number / VIDEO_FPS,
            self.captured_ms,
            sent_ms,
            self.compute_ms,
            self.dropped,
        )
        return header + self.positions.astype("<f4").tobytes()


def read_sound(message: bytes, sound_format: SoundFormat) -> SoundPiece:
    """A piece of sound out of a binary message.

    Raises:
        ValueError: a message without a header or samples, with part of a sample, longer than 1 s,
            a time or samples that are not finite, samples far outside [-1, 1].
    """
    if len(message) <= SOUND_HEADER.size:
        raise ValueError(f"message of {len(message)} bytes; a time (8 bytes) and samples belong in")
    if len(message) > MAX_MESSAGE_BYTES:
        raise ValueError(f"message of {len(message)} bytes; at most {MAX_MESSAGE_BYTES} (1 s)")
    (captured_ms,) = SOUND_HEADER.unpack_from(message)
    if not math.isfinite(captured_ms):
        raise ValueError(f"time of capture is {captured_ms}; give milliseconds")
    kind, full_scale = {"int16": ("<i2", 32768.0), "float32": ("<f4", 1.0)}[sound_format]
    size, body = np.dtype(kind).itemsize, memoryview(message)[SOUND_HEADER.size :]
    if len(body) % size:
        raise ValueError(f"{len(body)} bytes are not whole {sound_format} samples of {size} bytes")
    if len(body) > size * MAX_PIECE_S * SAMPLE_RATE_HZ:
        raise ValueError(f"{len(body) // size} samples; at most {MAX_PIECE_S:g} s a message")
    samples = np.frombuffer(body, kind).astype(np.float32) / np.float32(full_scale)
    # A comparison with NaN is false.
    if not (np.abs(samples) <= LOUDEST).all():
        raise ValueError(f"samples are not finite or beyond {LOUDEST:g}; give them in [-1, 1]")
    return SoundPiece(samples, captured_ms)


def checked_format(word: object) -> SoundFormat:
    """The word as a sound format. Raises ValueError that lists the formats."""
    for known in get_args(SoundFormat):
        if word == known:
            return known
    raise ValueError(f"sound format {word!r:.40}; give {' or '.join(get_args(SoundFormat))}")


@dataclass(frozen=True)
class _Mark:
    """A piece that was computed: where it begins in what the face heard and in what was said."""

    heard: int  # samples
    said: int  # samples, dropped ones included
    captured_ms: float


class LiveSession:
    """Sound on its way to a face: one thread takes it, another one computes.

    Args:
        live: a new one; it hears this utterance alone.
        waiting_limit_s: sound that may wait; more, and the oldest whole frames of it are dropped
            and counted. At least a frame.
        clock: seconds; another one for tests.
    """

    def __init__(
        self,
        live: LiveFace,
        waiting_limit_s: float = WAITING_LIMIT_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.live, self.clock = live, clock
        self.limit = max(SAMPLES_PER_FRAME, int(waiting_limit_s * SAMPLE_RATE_HZ))
        self.lock = threading.Lock()  # of what `take` writes
        self.waiting: deque[SoundPiece] = deque()
        self.num_waiting = 0  # samples
        self.dropped_frames = 0
        self.pending_gap = 0  # dropped samples that stand before what waits
        self.marks: deque[_Mark] = deque()
        self.heard = 0  # samples that the face heard
        self.gap = 0  # samples that were dropped before those

    def take(self, piece: SoundPiece) -> None:
        """Take the next piece; where too much waits, drop the oldest frames of sound."""
        with self.lock:
            self.waiting.append(piece)
            self.num_waiting += len(piece.samples)
            too_many = self.num_waiting - self.limit
            if too_many > 0:
                # Whole frames, so that the frames that follow keep their place in time.
                frames = -(-too_many // SAMPLES_PER_FRAME)
                self._cut(frames * SAMPLES_PER_FRAME)
                self.dropped_frames += frames
                self.pending_gap += frames * SAMPLES_PER_FRAME

    def compute(self) -> list[LiveFrame]:
        """The frames that some of the waiting sound completes; call until nothing waits."""
        with self.lock:
            pieces = self._cut(int(AT_ONCE_S * SAMPLE_RATE_HZ))
            self.gap += self.pending_gap
            self.pending_gap, dropped = 0, self.dropped_frames
        if not pieces:
            return []
        for piece in pieces:
            self.marks.append(_Mark(self.heard, self.heard + self.gap, piece.captured_ms))
            self.heard += len(piece.samples)
        first, begun = self.live.num_frames, self.clock()
        vertices = self.live.push(np.concatenate([piece.samples for piece in pieces]))
        return self._frames(vertices, first, 1000 * (self.clock() - begun), dropped)

    def finish(self) -> list[LiveFrame]:
        """The last frames: what waits, and the frames that waited for their look-ahead."""
        frames = []
        while self.num_waiting:
            frames += self.compute()
        first, begun = self.live.num_frames, self.clock()
        vertices = self.live.finish()
        took_ms = 1000 * (self.clock() - begun)
        return frames + self._frames(vertices, first, took_ms, self.dropped_frames)

    def _cut(self, count: int) -> list[SoundPiece]:
        """Take up to so many of the oldest samples out of what waits."""
        pieces: list[SoundPiece] = []
        while self.waiting and count > 0:
            piece = self.waiting.popleft()
            if len(piece.samples) > count:
                later = piece.captured_ms + 1000 * count / SAMPLE_RATE_HZ
                self.waiting.appendleft(SoundPiece(piece.samples[count:], later))
                piece = SoundPiece(piece.samples[:count], piece.captured_ms)
            pieces.append(piece)
            count -= len(piece.samples)
            self.num_waiting -= len(piece.samples)
        return pieces

    def _frames(
        self, vertices: NDArray[np.float32], first: int, compute_ms: float, dropped: int
    ) -> list[LiveFrame]:
        frames = []
        for place, whole in enumerate(vertices):
            sample = (first + place) * SAMPLES_PER_FRAME
            while len(self.marks) > 1 and self.marks[1].heard <= sample:
                self.marks.popleft()
            mark = self.marks[0]
            said = sample - mark.heard + mark.said
            captured_ms = mark.captured_ms + 1000 * (sample - mark.heard) / SAMPLE_RATE_HZ
            frames.append(
                LiveFrame(
                    said // SAMPLES_PER_FRAME,
                    captured_ms,
                    compute_ms,
                    dropped,
                    whole[self.live.animated_ids],
                )
            )
        return frames
