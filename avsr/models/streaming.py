"""A causal recogniser fed piece by piece.

Frames come out a chunk at a time, and are those of the pass over the whole utterance with the same
:class:`avsr.models.layers.ChunkConfig`. Of earlier frames are kept: the stems' context, the inputs
of the convolutions, and the keys and values of as many chunks as the attention looks back to.
"""

# One utterance: N frames, D width, B = 1, P frames kept, heads and channels as in the layers

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from avsr.models.fusion import Stream
from avsr.models.layers import ChunkConfig, ConformerBlock, masked, rotate
from avsr.models.recognizer import Recognizer
from avsr.models.streaming_stems import AudioStem, MotionStem, VideoStem

STEMS = {"audio": AudioStem, "crops": VideoStem, "lips": MotionStem}


class StreamingBlock:
    """A causal Conformer block and what it keeps of earlier chunks."""

    def __init__(self, block: ConformerBlock, kept_frames: int | None) -> None:
        self.block, self.kept_frames = block, kept_frames
        weight = block.norm.weight
        width, heads = len(weight), block.attention.num_heads
        self.keys = weight.new_zeros(1, heads, 0, width // heads)
        self.values = self.keys
        self.valid = torch.zeros(1, 0, dtype=torch.bool, device=weight.device)
        self.gated = weight.new_zeros(1, block.convolution.left, width)

    def step(self, x: Tensor, valid: Tensor) -> Tensor:
        """Map a chunk (1, N, D) with ``valid`` (1, N) to (1, N, D)."""
        block = self.block
        x = x + 0.5 * block.first_half(x)
        x = x + self._attend(x, valid)
        gated = torch.cat([self.gated, block.convolution.gated(x, valid)], dim=1)
        self.gated = gated[:, x.shape[1] :]
        x = x + block.convolution.mixed(gated)
        x = x + 0.5 * block.second_half(x)
        return masked(block.norm(x), valid)

    def _attend(self, x: Tensor, valid: Tensor) -> Tensor:
        query, key, value = self.block.attention.heads_of(x)
        size, before = x.shape[1], self.keys.shape[2]
        # Kept unrotated: positions count from the oldest kept frame and so stay small, which keeps
        # the angles exact however long the stream.
        keys = torch.cat([self.keys, key], dim=2)
        values = torch.cat([self.values, value], dim=2)
        flags = torch.cat([self.valid, valid], dim=1)
        itself = torch.zeros(size, before + size, dtype=torch.bool, device=x.device)
        itself[:, before:].fill_diagonal_(True)  # see attention_mask
        attended = F.scaled_dot_product_attention(
            rotate(query, before), rotate(keys), values, attn_mask=flags[:, None, None, :] | itself
        )
        start = 0 if self.kept_frames is None else max(0, before + size - self.kept_frames)
        self.keys, self.values = keys[:, :, start:], values[:, :, start:]
        self.valid = flags[:, start:]
        return self.block.attention.out(attended.transpose(1, 2).reshape(x.shape))


class StreamingEncoder:
    """Memory of one utterance, computed while its streams arrive.

    A chunk comes out as soon as every stream has it and the look-ahead of its stem: the latency is
    at most ``chunks.frames + look_ahead`` frames of 40 ms, beside the 7.5 ms that log-mel windows
    reach over a frame's end.

    Args:
        model: with ``causal`` True, in eval mode.
        chunks: of the attention; with ``left_chunks`` None all of the past is kept, and memory
            and time grow with the stream.
        streams: the ones that will be pushed; the network's others count as missing.

    Raises:
        ValueError: a network that is not causal or in training mode, or streams that it lacks.
    """

    def __init__(self, model: Recognizer, chunks: ChunkConfig, streams: tuple[Stream, ...]) -> None:
        if not model.config.causal:
            raise ValueError(
                "streaming needs a network with causal True, this one looks at whole utterances; "
                "train one with --loop.model.causal"
            )
        if model.training:
            raise ValueError("the network is in training mode, so dropout is on; call model.eval()")
        if not streams or not set(streams) <= set(model.config.streams):
            raise ValueError(
                f"streams {list(streams)} must be some of this network's "
                f"{list(model.config.streams)}"
            )
        self.model, self.chunks, self.streams = model, chunks, streams
        kept = None if chunks.left_chunks is None else chunks.frames * chunks.left_chunks
        self.stems: dict[Stream, AudioStem | VideoStem | MotionStem] = {
            name: STEMS[name](model.encoders[name]) for name in streams
        }

        def blocks(layers: Any) -> list[StreamingBlock]:
            return [StreamingBlock(block, kept) for block in layers]

        self.stream_blocks = {name: blocks(model.stream_layers[name]) for name in streams}
        self.fused_blocks = blocks(model.layers)
        device, width = model.to_logits.weight.device, model.config.width
        nothing = torch.zeros(1, 0, width, device=device)
        absent = torch.zeros(1, 0, dtype=torch.bool, device=device)
        self.waiting = dict.fromkeys(streams, (nothing, absent))
        self.finished = False

    @property
    def look_ahead(self) -> int:
        """Frames that a chunk waits for after its last one."""
        return max(stem.look_ahead for stem in self.stems.values())

    @torch.no_grad()
    def push(self, stream: Stream, values: Tensor, present: Tensor | None = None) -> Tensor:
        """Take a piece of one stream; returns the memory (N, D) of the frames now complete.

        Args:
            stream: one of ``streams``.
            values: log-mel (K, F), crops (N, H, W) or lips (N, P, 3); any number of them, 0 too.
            present: bool (N,), frames at which the stream is there; ``None`` is all.

        Raises:
            ValueError: a stream not announced, wrong shapes, or a stream that has ended.
        """
        if self.finished or stream not in self.stems:
            why = "the utterance is finished" if self.finished else "it was not announced"
            raise ValueError(f"stream {stream!r}: {why}; make a StreamingEncoder for it")
        self._wait(stream, *self.stems[stream].push(values, present))
        return self._advance(whole=True)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """Memory (N, D) of the last frames; a stream that ended early is missing at its end."""
        for name, stem in self.stems.items():
            self._wait(name, *stem.finish())
        self.finished = True
        longest = max(present.shape[1] for _, present in self.waiting.values())
        for name, (x, present) in self.waiting.items():
            short = longest - present.shape[1]
            self.waiting[name] = F.pad(x, (0, 0, 0, short)), F.pad(present, (0, short))
        return self._advance(whole=False)

    def _wait(self, name: Stream, x: Tensor, present: Tensor) -> None:
        before, flags = self.waiting[name]
        self.waiting[name] = torch.cat([before, x], dim=1), torch.cat([flags, present], dim=1)

    def _advance(self, *, whole: bool) -> Tensor:
        """All chunks that every stream has; the last one may be short unless ``whole``."""
        size = self.chunks.frames
        out = [self.model.to_logits.weight.new_zeros(0, self.model.config.width)]
        ready = min(present.shape[1] for _, present in self.waiting.values())
        while ready >= size or (ready > 0 and not whole):
            taken = min(size, ready)
            encoded = {}
            for name, (x, present) in self.waiting.items():
                self.waiting[name] = x[:, taken:], present[:, taken:]
                x, present = x[:, :taken], present[:, :taken]
                for layer in self.stream_blocks[name]:
                    x = layer.step(x, present)
                encoded[name] = (x, present)
            valid = torch.ones(1, taken, dtype=torch.bool, device=out[0].device)
            x = self.model.fusion(encoded, valid)
            for layer in self.fused_blocks:
                x = layer.step(x, valid)
            out.append(x[0])
            ready -= taken
        return torch.cat(out)
