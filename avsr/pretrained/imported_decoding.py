"""Text of imported networks, through the toolkit's own search.

The toolkit's decoders begin and end a sentence with token 0, which is blank for CTC. Auto-AVSR's
decoder does it with its last token, AV-HuBERT's with token 2. :class:`BoundaryFirst` exchanges the
two for the search, and :func:`decode_imported` exchanges them back in what was found.
"""

# B utterances, N hypotheses of each, T frames, U tokens, D width, K vocabulary

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.models.layers import mask_of_lengths
from avsr.pretrained.published_inputs import (
    auto_avsr_waveform,
    av_hubert_features,
    network_crops,
)
from avsr.pretrained.symbols import text_of
from avsr.units import SAMPLES_PER_FRAME

if TYPE_CHECKING:
    import numpy as np

    from avsr.models.transformer_decoder import DecoderState, TransformerDecoder
    from avsr.pretrained.imported import Imported
    from avsr.schema import Modality

FAIRSEQ_END = 2


class BoundaryFirst:
    """A decoder whose boundary token has changed places with token 0."""

    def __init__(self, decoder: TransformerDecoder, boundary: int) -> None:
        self.decoder, self.boundary = decoder, boundary

    def _exchanged(self, tokens: Tensor) -> Tensor:
        """Token ids with 0 and the boundary exchanged."""
        swapped = torch.where(tokens == 0, self.boundary, tokens)
        return torch.where(tokens == self.boundary, 0, swapped)

    def start(self, memory: Tensor, memory_valid: Tensor, num_hypotheses: int) -> DecoderState:
        """As :meth:`avsr.models.transformer_decoder.TransformerDecoder.start`."""
        return self.decoder.start(memory, memory_valid, num_hypotheses)

    def step(self, state: DecoderState, tokens: Tensor) -> tuple[Tensor, DecoderState]:
        """Logits (B, N, K), 0 being the end, after tokens (B, N), 0 being the beginning."""
        logits, state = self.decoder.step(state, self._exchanged(tokens))
        every = torch.arange(logits.shape[-1], device=logits.device)
        return logits[..., self._exchanged(every)], state

    def reorder(self, state: DecoderState, index: Tensor) -> DecoderState:
        """As :meth:`avsr.models.transformer_decoder.TransformerDecoder.reorder`."""
        return self.decoder.reorder(state, index)

    def keep(self, state: DecoderState, utterances: Tensor) -> DecoderState:
        """As :meth:`avsr.models.transformer_decoder.TransformerDecoder.keep`."""
        return self.decoder.keep(state, utterances)


class Searchable:
    """An imported network after its encoder, as :func:`avsr.decode.decoding.decode_memory` asks."""

    def __init__(self, imported: Imported) -> None:
        model: Any = imported.model
        self.model = model
        self.transducer = None
        self.has_ctc = imported.network == "auto_avsr" or model.config.head == "ctc"
        self.boundary = FAIRSEQ_END
        if imported.network == "auto_avsr":
            self.boundary = model.config.vocabulary_size - 1
        own = getattr(model, "decoder", None)
        self.decoder = None if own is None else BoundaryFirst(own, self.boundary)

    def ctc_logits(self, memory: Tensor) -> Tensor:
        """CTC logits (B, T, K); zeros where the weights have no CTC layer."""
        if self.has_ctc:
            return self.model.ctc_logits(memory)
        return memory.new_zeros(*memory.shape[:2], self.model.config.vocabulary_size)


def default_decoding(imported: Imported, beam_size: int) -> DecodingConfig:
    """The way to decode that is nearest to the published one.

    Auto-AVSR: joint with CTC weight 0.1 (and a beam of 40), as published. AV-HuBERT: its decoder
    alone; the published search divides a score by its length, this one does not. CTC weights: CTC.

    Raises:
        ValueError: pretrained weights without a head.
    """
    if imported.network == "auto_avsr":
        return DecodingConfig(method="joint", beam_size=beam_size, ctc_weight=0.1)
    head = imported.model.config.head  # type: ignore[union-attr]
    if head == "none":
        raise ValueError(
            "these AV-HuBERT weights are the pretrained encoder, which gives no text; import "
            "weights that were fine-tuned to recognise speech"
        )
    if head == "ctc":
        return DecodingConfig(method="ctc", beam_size=beam_size)
    return DecodingConfig(method="joint", beam_size=beam_size, ctc_weight=0.0)


def decode_imported(
    imported: Imported, memory: Tensor, lengths: Tensor, config: DecodingConfig
) -> list[list[int]]:
    """Token ids, in the weights' own numbering, of each utterance.

    Args:
        imported: a network with a head.
        memory: (B, T, D) of ``model.encode``.
        lengths: int (B,) frames of each utterance.
        config: how to decode; see :func:`default_decoding`.

    Raises:
        ValueError: CTC is asked of weights without a CTC layer, or a decoder of those without one.
    """
    searchable = Searchable(imported)
    wants_ctc = config.method != "joint" or config.ctc_weight > 0
    if wants_ctc and not searchable.has_ctc:
        raise ValueError(
            f"method {config.method!r} with ctc_weight {config.ctc_weight} needs a CTC layer, "
            "which these weights do not have; use 'joint' with ctc_weight 0"
        )
    found = decode_memory(searchable, memory, lengths, config)
    if config.method != "joint" or searchable.decoder is None:
        return found
    # The boundary's place now holds what was token 0, which is no text.
    return [[token for token in tokens if token != searchable.boundary] for tokens in found]


def text_of_ids(imported: Imported, ids: Sequence[int]) -> str:
    """Text of token ids, or the ids themselves where the folder has no symbols."""
    if imported.symbols is None:
        return " ".join(str(token) for token in ids)
    return text_of(imported.symbols, ids)


@torch.no_grad()
def recognise(
    imported: Imported,
    *,
    crops: np.ndarray | None = None,
    waveform: np.ndarray | None = None,
    config: DecodingConfig | None = None,
) -> list[int]:
    """Token ids of one utterance.

    Args:
        imported: a network with a head.
        crops: uint8 (T, 96, 96), cut as :mod:`avsr.pretrained.mouth_crops` does.
        waveform: float (S,) at 16 kHz in [-1, 1].
        config: how to decode; ``None``: :func:`default_decoding` with a beam of 10.

    Raises:
        ValueError: a stream that the network takes is missing, or one that it does not take.
    """
    num_frames = None if crops is None else len(crops)
    streams: dict[str, Tensor] = {}
    if crops is not None:
        streams["video"] = torch.from_numpy(network_crops(crops))[None]
    if waveform is not None:
        make = auto_avsr_waveform if imported.network == "auto_avsr" else av_hubert_features
        streams["audio"] = torch.from_numpy(make(waveform, num_frames))[None]
    if num_frames is None and waveform is not None:
        rate = SAMPLES_PER_FRAME if imported.network == "auto_avsr" else 1
        num_frames = streams["audio"].shape[1] // rate
    lengths = torch.tensor([num_frames or 1])
    valid = mask_of_lengths(lengths, int(lengths))
    memory = imported.model.encode(valid, **streams)
    return decode_imported(imported, memory, lengths, config or default_decoding(imported, 10))[0]


def streams_of(imported: Imported, modality: Modality) -> tuple[str, ...]:
    """Which streams to give for a modality.

    Raises:
        ValueError: an Auto-AVSR network takes exactly the streams that it was trained with.
    """
    wanted = ("video", "audio") if modality == "audio_visual" else (modality,)
    if imported.network == "auto_avsr":
        own = imported.model.config.modality  # type: ignore[union-attr]
        if own != modality:
            raise ValueError(
                f"these Auto-AVSR weights take {own}, not {modality}; say --modality {own}, or "
                "import others"
            )
    return wanted
