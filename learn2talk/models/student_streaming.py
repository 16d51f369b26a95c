"""A student fed piece by piece: frames come out as soon as the sound that they need is there.

They are those of `Student.forward` over the whole utterance; with a shorter look-ahead, each is
that of an utterance which ends where the look-ahead ends. Kept are the log-mel rows that the
subsampler looks back to and what each layer keeps: nothing grows with the length.

Axis letters: one utterance, N frames, F mel bands, R animated vertices.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from avsr.audio import StreamingLogMel
from avsr.units import FEATURES_PER_FRAME, SAMPLE_RATE_HZ, VIDEO_FPS
from learn2talk.models.layers import StreamingLayer
from learn2talk.models.speech import MEL_LOOK_AHEAD, SUBSAMPLER_KERNEL
from learn2talk.models.student import Student
from learn2talk.models.styles import Style, style_vector

FRAME_MS = 1000 / VIDEO_FPS


class StreamingStudent:
    """The motion of one utterance, computed while its sound arrives.

    Args:
        model: in evaluation mode, with log-mel features.
        style: who moves, B = 1; as in `Student.forward`.
        look_ahead_frames: video frames of sound that a frame waits for, counted as in
            `StudentConfig`; fewer than the student's make the latency shorter and the frames
            provisional. None takes the student's own.

    Raises:
        ValueError: a student with a pretrained encoder, which hears whole utterances, one in
            training mode, a style that does not fit, or a look-ahead that is longer than the
            student's or shorter than that of the log-mel window.
    """

    @torch.no_grad()
    def __init__(
        self, model: Student, style: Style | None = None, look_ahead_frames: int | None = None
    ) -> None:
        if model.config.num_mels is None:
            raise ValueError(
                "streaming needs a student of log-mel features; this one has a pretrained speech "
                "encoder, which hears the whole utterance: train one without "
                "--config.hearing.speech-encoder"
            )
        if model.training:
            raise ValueError("the student is in training mode, so dropout is on; call model.eval()")
        own = model.config.look_ahead_frames
        wanted = own if look_ahead_frames is None else look_ahead_frames
        if not MEL_LOOK_AHEAD <= wanted <= own:
            raise ValueError(
                f"the look-ahead is {wanted} frames; this student takes {MEL_LOOK_AHEAD} (the "
                f"log-mel window) to {own} (its own)"
            )
        self.look_ahead_frames = wanted
        self.model = model
        self.features = StreamingLogMel(model.config.num_mels)
        device = model.mel_mean.device
        self.rows = torch.zeros(1, 0, model.config.num_mels, device=device)
        # Zeros after normalisation: what stands before the start of the sound.
        self.before = torch.zeros(1, SUBSAMPLER_KERNEL - 1, model.config.num_mels, device=device)
        self.style = style_vector(model.styles, style, 1)
        self.layers = [StreamingLayer(layer) for layer in model.layers]  # type: ignore[arg-type]
        self.num_heard = 0  # frames that went into the layers
        self.num_frames = 0  # given out
        self.finished = False

    @property
    def look_ahead_ms(self) -> float:
        """Sound after the end of a frame that it waits for: layers, and the log-mel window."""
        frames = self.look_ahead_frames - MEL_LOOK_AHEAD
        return frames * FRAME_MS + 1000 * self.features.look_ahead_samples / SAMPLE_RATE_HZ

    @property
    def latency_ms(self) -> float:
        """The algorithm's latency: from the first sample of a frame until the frame can come out.

        40 ms of the frame itself and the look-ahead; computing comes on top.
        """
        return FRAME_MS + self.look_ahead_ms

    @torch.no_grad()
    def push(self, samples: Tensor) -> Tensor:
        """Take samples (S,) at 16 kHz in [-1, 1], any S, 0 too.

        Returns:
            float (N, R, 3), mm: displacement in the frames that are complete now, N from 0 on.

        Raises:
            ValueError: the utterance is finished.
        """
        if self.finished:
            raise ValueError("the utterance is finished; make another StreamingStudent for a new")
        return self._frames(self.features.push(samples.float().cpu()), last=False)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """The last frames (N, R, 3), mm; a frame begun is filled with zeros, as offline."""
        if self.finished:
            raise ValueError("the utterance is finished; make another StreamingStudent for a new")
        self.finished = True
        return self._frames(self.features.finish(), last=True)

    def _frames(self, rows: Tensor, *, last: bool) -> Tensor:
        model = self.model
        self.rows = torch.cat([self.rows, rows[None].to(self.rows.device)], dim=1)
        whole = self.rows.shape[1] // FEATURES_PER_FRAME * FEATURES_PER_FRAME
        now, self.rows = self.rows[:, :whole], self.rows[:, whole:]
        frames = self.layers[0].waiting[:, :0]
        if whole:
            frames = model.subsampler(now, self.before)
            self.before = model.subsampler.normalised(now[:, 1 - SUBSAMPLER_KERNEL :])
            if self.style is not None:
                frames = frames + self.style
        if last or self.look_ahead_frames == model.config.look_ahead_frames:
            frames = self._final(frames, last=last)
        else:
            frames = self._provisional(frames)
        moved = model.vertices(model.norm(frames))[0]
        self.num_frames += len(moved)
        return moved.unflatten(1, (model.num_vertices, 3))

    def _final(self, frames: Tensor, *, last: bool) -> Tensor:
        """Frames (1, N, D) of sound in; those (1, M, D) out that are final and not given out."""
        self.num_heard += frames.shape[1]
        done = _through(self.layers, frames, last=last)
        if not last:
            return done
        # Where frames were provisional, the first of these were given out.
        return done[:, done.shape[1] - (self.num_heard - self.num_frames) :]

    def _provisional(self, frames: Tensor) -> Tensor:
        """As `_final`, each frame as if the sound ended after its look-ahead.

        The layers' state is looked through to its end in a copy, frame by frame of sound, so that
        what comes out does not depend on how the sound is cut.
        """
        given = [frames[:, :0]]
        for number in range(frames.shape[1]):
            frame = frames[:, number : number + 1]
            _through(self.layers, frame, last=False)
            self.num_heard += 1
            if self.num_heard >= self.look_ahead_frames:
                ended = _through([copy.copy(one) for one in self.layers], frame[:, :0], last=True)
                first = ended.shape[1] - self.look_ahead_frames
                given.append(ended[:, first : first + 1])
        return torch.cat(given, dim=1)


def _through(layers: Sequence[StreamingLayer], frames: Tensor, *, last: bool) -> Tensor:
    for layer in layers:
        frames = layer.step(frames, last=last)
    return frames
