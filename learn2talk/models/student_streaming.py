"""A student fed piece by piece: frames come out as soon as the sound that they need is there.

They are those of `Student.forward` over the whole utterance. Kept are the log-mel rows that the
subsampler looks back to and what each layer keeps: nothing grows with the length.

Axis letters: one utterance, N frames, F mel bands, R animated vertices.
"""

from __future__ import annotations

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

    Raises:
        ValueError: a student with a pretrained encoder, which hears whole utterances, one in
            training mode, or a style that does not fit.
    """

    @torch.no_grad()
    def __init__(self, model: Student, style: Style | None = None) -> None:
        if model.config.num_mels is None:
            raise ValueError(
                "streaming needs a student of log-mel features; this one has a pretrained speech "
                "encoder, which hears the whole utterance: train one without "
                "--config.hearing.speech-encoder"
            )
        if model.training:
            raise ValueError("the student is in training mode, so dropout is on; call model.eval()")
        self.model = model
        self.features = StreamingLogMel(model.config.num_mels)
        device = model.mel_mean.device
        self.rows = torch.zeros(1, 0, model.config.num_mels, device=device)
        # Zeros after normalisation: what stands before the start of the sound.
        self.before = torch.zeros(1, SUBSAMPLER_KERNEL - 1, model.config.num_mels, device=device)
        self.style = style_vector(model.styles, style, 1)
        self.layers = [StreamingLayer(layer) for layer in model.layers]  # type: ignore[arg-type]
        self.num_frames = 0  # given out
        self.finished = False

    @property
    def look_ahead_ms(self) -> float:
        """Sound after the end of a frame that it waits for: layers, and the log-mel window."""
        frames = self.model.config.look_ahead_frames - MEL_LOOK_AHEAD
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
        for layer in self.layers:
            frames = layer.step(frames, last=last)
        moved = model.vertices(model.norm(frames))[0]
        self.num_frames += len(moved)
        return moved.unflatten(1, (model.num_vertices, 3))
