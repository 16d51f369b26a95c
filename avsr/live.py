"""A causal recogniser that listens and watches live: text while it is said."""

# S samples, N frames at 25 fps, D width, K vocabulary with blank 0

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avsr.audio import StreamingLogMel
from avsr.decode.ctc import CtcPrefixBeam
from avsr.decode.live import LiveConfig, LiveText
from avsr.models.layers import ChunkConfig
from avsr.models.recognizer import Recognizer
from avsr.models.streaming import StreamingEncoder
from avsr.schema import Modality
from avsr.text import Tokenizer
from avsr.units import (
    FEATURES_PER_FRAME,
    MODEL_CROP_SIZE,
    SAMPLE_RATE_HZ,
    VIDEO_FPS,
)

FRAME_MS = 1000 / VIDEO_FPS


class LiveRecognizer:
    """Recognise one stream of sound, pictures or both while it comes.

    Args:
        model: causal network in eval mode.
        tokenizer: of its texts.
        modality: what will be pushed.
        config: see :class:`LiveConfig`.

    Raises:
        ValueError: a network that is not causal, or lacks a stream of the modality.
    """

    def __init__(
        self, model: Recognizer, tokenizer: Tokenizer, modality: Modality, config: LiveConfig
    ) -> None:
        streams = {"audio": ("audio",), "video": ("crops",), "audio_visual": ("audio", "crops")}
        needed = streams[modality]
        if missing := sorted(set(needed) - set(model.config.streams)):
            raise ValueError(
                f"modality {modality!r} needs the streams {missing}, this recogniser was trained "
                f"with {list(model.config.streams)}; give another one, or another --modality"
            )
        chunks = ChunkConfig(config.chunk_frames, config.left_chunks)
        self.encoder = StreamingEncoder(model, chunks, needed)  # type: ignore[arg-type]
        assert model.config.num_mels is not None  # a causal network takes log-mel
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self.features = StreamingLogMel(model.config.num_mels)
        self.sound_ended = False
        self.num_frames = 0  # decoded
        self._begin()

    def _begin(self) -> None:
        self.beam = CtcPrefixBeam(self.config.beam_size)
        self.first_frame, self.silent_frames, self.said = self.num_frames, 0, ""

    @property
    def look_ahead_ms(self) -> float:
        """How much later than its end a chunk can be computed."""
        frames = self.encoder.look_ahead * FRAME_MS
        samples = self.features.look_ahead_samples if "audio" in self.encoder.streams else 0
        return max(frames, 1000 * samples / SAMPLE_RATE_HZ)

    @property
    def latency_ms(self) -> float:
        """The algorithm's latency: a chunk's first frame waits for its last and the look-ahead."""
        return self.config.chunk_frames * FRAME_MS + self.look_ahead_ms

    def push_sound(self, samples: np.ndarray) -> list[LiveText]:
        """Take samples (S,) at 16 kHz in [-1, 1], any number; returns what is new."""
        tensor = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        return self._decode(self.encoder.push("audio", self.features.push(tensor)))

    def push_mouth(self, crop: np.ndarray | None) -> list[LiveText]:
        """Take the crop uint8 (88, 88) of one frame, ``None`` without a face."""
        shape = (MODEL_CROP_SIZE, MODEL_CROP_SIZE)
        values = np.zeros(shape, np.uint8) if crop is None else crop
        present = torch.tensor([crop is not None])
        return self._decode(
            self.encoder.push(
                "crops", torch.from_numpy(np.ascontiguousarray(values))[None], present
            )
        )

    def push_silence(self, num_frames: int) -> list[LiveText]:
        """The sound has ended before the pictures: it is missing for some frames."""
        said = self._end_sound()
        assert self.model.config.num_mels is not None
        rows = torch.zeros(num_frames * FEATURES_PER_FRAME, self.model.config.num_mels)
        present = torch.zeros(num_frames, dtype=torch.bool)
        return said + self._decode(self.encoder.push("audio", rows, present))

    def finish(self) -> list[LiveText]:
        """The last texts; every sentence is final now."""
        said = self._end_sound() + self._decode(self.encoder.finish())
        last = self._text(final=True)
        return [*said, last] if last.text else said

    def _end_sound(self) -> list[LiveText]:
        if self.sound_ended or "audio" not in self.encoder.streams:
            return []
        self.sound_ended = True
        return self._decode(self.encoder.push("audio", self.features.finish()))

    @torch.no_grad()
    def _decode(self, memory: Tensor) -> list[LiveText]:
        """Go on with new frames (N, D)."""
        if not len(memory):
            return []
        logits = self.model.ctc_logits(memory[None])[0].float()
        scores = logits.log_softmax(-1).cpu().numpy()
        said: list[LiveText] = []
        pause = None if self.config.pause_s is None else round(self.config.pause_s * VIDEO_FPS)
        for frame, best in zip(scores, scores.argmax(-1), strict=True):
            self.beam.extend(frame[None])
            self.num_frames += 1
            self.silent_frames = self.silent_frames + 1 if best == 0 else 0
            if pause is not None and self.silent_frames == pause:
                text = self._text(final=True)
                if text.text:
                    said.append(text)
                self._begin()
                self.silent_frames = pause  # the same pause does not end the next sentence too
        partial = self._text(final=False)
        if partial.text != self.said:
            self.said = partial.text
            said.append(partial)
        return said

    def _text(self, *, final: bool) -> LiveText:
        text = self.tokenizer.decode(self.beam.hypotheses()[0][0])
        stable = text if final else self.tokenizer.decode(self.beam.stable_tokens())
        return LiveText(
            text, stable, final, self.first_frame / VIDEO_FPS, self.num_frames / VIDEO_FPS
        )
