"""One way to text for every caller: what an encoder made of an utterance, to token sequences."""

# B utterances, T frames, D width, K vocabulary with blank 0

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from avsr.decode.config import DecodingConfig
from avsr.decode.ctc import ctc_prefix_beam
from avsr.decode.greedy import ctc_greedy
from avsr.decode.joint import joint_beam_search
from avsr.decode.lm import LanguageModel
from avsr.decode.transducer import transducer_beam, transducer_greedy


class Decodable(Protocol):
    """A recogniser after its encoder; see :class:`avsr.models.recognizer.Recognizer`."""

    decoder: Any  # an attention decoder with cached steps, or None
    transducer: Any  # a transducer head, or None

    def ctc_logits(self, memory: Tensor) -> Tensor:
        """CTC logits (B, T, K) of the memory (B, T, D)."""
        ...


@torch.no_grad()
def decode_memory(
    model: Decodable,
    memory: Tensor,
    lengths: Tensor,
    config: DecodingConfig,
    language_model: LanguageModel | None = None,
) -> list[list[int]]:
    """Token ids in [1, K) of each utterance of a batch.

    Args:
        model: in eval mode.
        memory: (B, T, D), for example of ``Recognizer.memory_of`` or ``Recognizer.fuse``.
        lengths: int (B,) frames of each utterance, on the memory's device.
        config: how to decode.
        language_model: for the joint method with an ``lm_weight`` above 0.

    Raises:
        ValueError: NaN logits; a method without the decoder, transducer or language model that it
            needs.
    """
    if config.method == "transducer":
        return _by_transducer(model.transducer, memory, lengths, config.beam_size)
    logits = model.ctc_logits(memory)
    if config.method == "greedy":
        return ctc_greedy(logits, lengths)
    if config.method == "ctc":
        scores = logits.float().log_softmax(-1).cpu().numpy()
        return [
            ctc_prefix_beam(row[:length], config.beam_size)[0][0]
            for row, length in zip(scores, lengths.tolist(), strict=True)
        ]
    found = joint_beam_search(
        logits,
        lengths,
        config,
        decoder=model.decoder,
        memory=memory,
        language_model=language_model,
    )
    return [hypotheses[0][0] for hypotheses in found]


def _by_transducer(head: Any, memory: Tensor, lengths: Tensor, beam_size: int) -> list[list[int]]:
    if head is None:
        raise ValueError(
            "decoding method 'transducer' needs a network with a transducer; train one with the "
            "model's transducer True, or choose another method"
        )
    if beam_size == 1:
        return transducer_greedy(head, memory, lengths)
    return [found[0][0] for found in transducer_beam(head, memory, lengths, beam_size)]
