"""A student fed piece by piece: frames come out as soon as the sound that they need is there.

They are those of `Student.forward` over the whole utterance. Kept are the log-mel rows that the
subsampler looks back to and, in each layer, the keys and values of the frames that it looks back to
and the frames that still wait for their look-ahead: nothing grows with the length.

Axis letters: one utterance, N frames, F mel bands, D width, H heads, R animated vertices.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from avsr.audio import StreamingLogMel
from avsr.units import FEATURES_PER_FRAME, SAMPLE_RATE_HZ, VIDEO_FPS
from learn2talk.models.layers import BandedTransformerLayer
from learn2talk.models.speech import MEL_LOOK_AHEAD, SUBSAMPLER_KERNEL
from learn2talk.models.student import Student
from learn2talk.models.styles import Style, style_vector

FRAME_MS = 1000 / VIDEO_FPS


class StreamingLayer:
    """A banded layer and what it keeps: frames that wait, keys and values that will be seen."""

    def __init__(self, layer: BandedTransformerLayer) -> None:
        self.layer = layer
        attention = layer.attention
        width = attention.merge.in_features
        weight = attention.merge.weight
        self.waiting = weight.new_zeros(1, 0, width)
        nothing = weight.new_zeros(1, attention.heads, 0, width // attention.heads)
        self.queries = self.keys = self.values = nothing
        self.seen_before = 0  # kept keys of frames that are done

    def step(self, frames: Tensor, *, last: bool) -> Tensor:
        """Take frames (1, N, D); returns those (1, M, D) whose look-ahead is there now.

        Args:
            frames: the next ones, any number.
            last: nothing will follow.
        """
        layer, attention = self.layer, self.layer.attention
        self._take(frames)
        waiting = self.waiting.shape[1]
        ready = waiting if last else max(0, waiting - attention.look_ahead)
        if ready == 0:
            return frames[:, :0]
        mixed = functional.scaled_dot_product_attention(
            self.queries[:, :, :ready], self.keys, self.values, attn_mask=self._bias(ready)
        )
        out = self.waiting[:, :ready]
        out = out + attention.merge(mixed.transpose(1, 2).reshape(out.shape))
        out = out + layer.feedforward(layer.feedforward_norm(out))
        self._drop(ready)
        return out

    def _take(self, frames: Tensor) -> None:
        attention = self.layer.attention
        shape = (1, frames.shape[1], 3, attention.heads, self.keys.shape[3])
        projected = attention.project(self.layer.attention_norm(frames))
        query, key, value = projected.view(shape).permute(2, 0, 3, 1, 4)
        self.waiting = torch.cat([self.waiting, frames], dim=1)
        self.queries = torch.cat([self.queries, query], dim=2)
        self.keys = torch.cat([self.keys, key], dim=2)
        self.values = torch.cat([self.values, value], dim=2)

    def _bias(self, ready: int) -> Tensor:
        """Additive (H, ready, kept keys): the offset's bias in the band, minus infinity outside."""
        attention = self.layer.attention
        device = self.keys.device
        query = torch.arange(ready, device=device) + self.seen_before
        key = torch.arange(self.keys.shape[2], device=device)
        place = key[None] - query[:, None] + attention.look_back
        outside = (place < 0) | (place > attention.look_back + attention.look_ahead)
        bias = attention.offset_bias[:, place.clamp(0, attention.offset_bias.shape[1] - 1)]
        return bias.masked_fill(outside, float("-inf"))

    def _drop(self, ready: int) -> None:
        """Forget frames that are done, and keys that no later frame sees."""
        self.waiting, self.queries = self.waiting[:, ready:], self.queries[:, :, ready:]
        done = self.seen_before + ready
        unseen = max(0, done - self.layer.attention.look_back)
        self.keys, self.values = self.keys[:, :, unseen:], self.values[:, :, unseen:]
        self.seen_before = done - unseen


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
        out: Tensor = moved.view(len(moved), model.num_vertices, 3)
        return out
