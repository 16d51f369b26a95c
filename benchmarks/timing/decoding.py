"""Speed of joint decoding beside its slow reference, and of the small network with each decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.decode.joint import joint_beam_search
from avsr.decode.prefix_scores import ctc_log_probabilities
from avsr.decode.reference import reference_search
from avsr.models.decoder import AttentionDecoder
from avsr.models.layers import mask_of_lengths
from avsr.models.presets import preset
from avsr.models.recognizer import Recognizer
from avsr.units import VIDEO_FPS
from benchmarks.timing.clock import Row, Work, measure
from benchmarks.timing.recognition import example_batch

PIECES_PER_S = 3.0  # of LRS3's speech with 5000 pieces, about
PEAK = 90.0  # logit of a spoken piece: the random decoder must not talk CTC out of it
CTC_WEIGHT = 0.3
BATCH_SHARES = (1.0, 0.9, 1.1, 0.8)  # lengths of a batch's clips, so that there is padding


@dataclass(frozen=True)
class Equality:
    """Fast search and reference on one clip."""

    what: str
    pieces: int
    same_text: bool
    score_difference: float  # nats


def spoken_logits(lengths: Sequence[int], vocabulary_size: int) -> Tensor:
    """CTC logits float32 (B, T, K) with a made-up peak for each of PIECES_PER_S pieces a second."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(len(lengths), max(lengths), vocabulary_size, generator=generator)
    logits[..., 0] += PEAK / 2
    for row, length in enumerate(lengths):
        count = max(1, round(length / VIDEO_FPS * PIECES_PER_S))
        pieces = torch.randperm(vocabulary_size - 1, generator=generator)[:count] + 1
        for place, piece in enumerate(pieces.tolist()):
            logits[row, int((place + 0.5) * length / count), piece] += PEAK
    return logits


def search(
    calls: int, seconds: float, beam_size: int, size: str = "small"
) -> tuple[list[Row], Equality]:
    """The batched search, the same for one clip alone, and the reference, with the same weights."""
    torch.manual_seed(0)
    config = preset(size)
    decoder = AttentionDecoder(
        config.vocabulary_size, config.width, config.num_heads, config.decoder_layers, 0.0
    ).eval()
    lengths = torch.tensor([round(share * seconds * VIDEO_FPS) for share in BATCH_SHARES])
    logits = spoken_logits(lengths.tolist(), config.vocabulary_size)
    memory = torch.randn(len(lengths), int(lengths.max()), config.width)
    decoding = DecodingConfig("joint", beam_size, CTC_WEIGHT)
    frames = int(lengths[0])
    one_memory = memory[:1, :frames]
    one_valid = mask_of_lengths(lengths[:1], frames)
    scores = ctc_log_probabilities(logits[0, :frames]).numpy()

    def batched(rows: int) -> list[list[tuple[list[int], float]]]:
        longest = int(lengths[:rows].max())
        return joint_beam_search(
            logits[:rows, :longest],
            lengths[:rows],
            decoding,
            decoder=decoder,
            memory=memory[:rows, :longest],
        )

    @torch.no_grad()
    def next_token(tokens: list[int]) -> np.ndarray:
        said = decoder(torch.tensor([[0, *tokens]]), one_memory, one_valid)
        return said[0, -1].log_softmax(-1).double().numpy()

    kept: dict[str, Any] = {}

    def reference() -> None:
        kept["slow"] = reference_search(scores, decoding, attention=next_token)[0]

    def fast() -> None:
        kept["fast"] = batched(len(lengths))[0][0]

    name = "reference, one clip"
    length = frames / VIDEO_FPS
    total = int(lengths.sum()) / VIDEO_FPS
    work = {
        name: Work(reference, length, "s of sound"),
        "cached, one clip": Work(lambda: batched(1), length, "s of sound", name),
        f"cached, {len(lengths)} clips": Work(fast, total, "s of sound", name),
    }
    group = f"Joint search, {seconds:g} s, beam {beam_size}"
    rows = measure(group, work, calls)
    (slow_tokens, slow_score), (tokens, score) = kept["slow"], kept["fast"]
    same = Equality(group, len(tokens), tokens == slow_tokens, abs(score - slow_score))
    return rows, same


class _Spoken:
    """A network with random weights whose CTC logits get made-up peaks, at its own cost."""

    def __init__(self, model: Recognizer, peaks: Tensor) -> None:
        self.model, self.decoder, self.transducer = model, model.decoder, model.transducer
        self.peaks = peaks

    def ctc_logits(self, memory: Tensor) -> Tensor:
        return 0.1 * self.model.ctc_logits(memory) + self.peaks


@torch.no_grad()
def real_time(calls: int, seconds: float = 2.3, size: str = "small") -> list[Row]:
    """The audio-visual network from log-mel and prepared crops to tokens, one clip."""
    torch.manual_seed(0)
    config = preset(size)
    model = Recognizer(replace(config, streams=("audio", "crops"))).eval()
    batch = example_batch(("audio", "crops"), seconds)
    spoken = _Spoken(model, spoken_logits(batch.lengths.tolist(), config.vocabulary_size))

    def decoded(decoding: DecodingConfig) -> Callable[[], Any]:
        return lambda: decode_memory(spoken, model.memory_of(batch), batch.lengths, decoding)

    greedy = "greedy"
    work = {
        greedy: Work(decoded(DecodingConfig("greedy")), seconds, "s of sound"),
        "CTC prefix beam 10": Work(
            decoded(DecodingConfig("ctc", 10)), seconds, "s of sound", greedy
        ),
        "joint beam 10": Work(
            decoded(DecodingConfig("joint", 10, CTC_WEIGHT)), seconds, "s of sound", greedy
        ),
    }
    return measure(f"Network '{size}', audio and crops, one {seconds:g} s clip", work, calls)
