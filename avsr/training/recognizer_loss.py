"""What a recogniser is trained on: CTC, attention, transducer, and frames with word times."""

# B batch, T frames, U tokens, K vocabulary with blank 0

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from avsr.losses import (
    LossSum,
    after_begin,
    attention_loss_sum,
    ctc_loss_sum,
    early_tokens,
    frame_loss_sum,
    transducer_loss_sum,
)
from avsr.models.fusion import STREAMS
from avsr.models.layers import ChunkConfig

if TYPE_CHECKING:
    from avsr.models.recognizer import Recognizer
    from avsr.schema import Batch


class TrainedOutputs(NamedTuple):
    """All that the loss looks at."""

    ctc_logits: Tensor  # (B, T, K)
    frames: dict[Any, tuple[Tensor, Tensor]]  # of each stream: logits (B, T, K), presence (B, T)
    attention_logits: Tensor | None  # (B, U + 1, K) after each right token; None without decoder
    transducer_logits: Tensor | None = None  # (B, T, U + 1, K); None without transducer


class TrainedForward(nn.Module):
    """What is trained: a recogniser whose forward gives all that the loss looks at.

    ``with_attention`` False leaves the attention decoder out, where there is one.
    """

    def __init__(self, recognizer: Recognizer, with_attention: bool = True) -> None:
        super().__init__()
        self.recognizer, self.with_attention = recognizer, with_attention

    def forward(self, batch: Batch) -> TrainedOutputs:
        """One pass over the encoder for all heads."""
        model = self.recognizer
        chunks = None if batch.chunks is None else ChunkConfig(*batch.chunks)
        encoded, valid_mask = model.encode_batch(batch, chunks=chunks)
        memory = model.fuse(encoded, valid_mask, chunks=chunks)
        attention = None
        if self.with_attention and model.decoder is not None and batch.tokens is not None:
            attention = model.decoder(after_begin(batch.tokens), memory, valid_mask)
        transducer = None
        if model.transducer is not None and batch.tokens is not None:
            transducer = model.transducer(memory, batch.tokens)
        return TrainedOutputs(
            model.ctc_logits(memory), model.frame_logits(encoded), attention, transducer
        )


class RecognizerLoss:
    """Hybrid CTC/attention loss (Watanabe et al. 2017, eq. 22), and the streams' frame losses.

    (1 - attention_weight) CTC + attention_weight attention + transducer_weight transducer +
    frame_weight frames, each in nats and summed; the loop divides by the number of tokens of the
    update.

    Args:
        frame_weight: of a frame's cross-entropy against word times, beside one token's CTC loss;
            0 leaves it out. Utterances without word times give none.
        attention_weight: of the attention decoder's cross-entropy, in [0, 1]; 0 is CTC alone.
        label_smoothing: of the attention decoder's targets.
        transducer_weight: of the transducer's loss beside the others; 0 leaves it out.
        early_nats: what CTC loses at each frame at which a token is told before it is said; 0 is
            off. Utterances without word times lose nothing.
    """

    def __init__(
        self,
        frame_weight: float,
        attention_weight: float = 0.0,
        label_smoothing: float = 0.1,
        transducer_weight: float = 0.0,
        early_nats: float = 0.0,
    ) -> None:
        for name, weight in (
            ("frame_weight", frame_weight),
            ("transducer_weight", transducer_weight),
            ("early_nats", early_nats),
        ):
            if not weight >= 0:
                raise ValueError(f"{name} {weight} must be 0 (off) or more")
        if not 0 <= attention_weight <= 1:
            raise ValueError(f"attention_weight {attention_weight} must be in [0, 1]; 0 is off")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing {label_smoothing} must be in [0, 1)")
        self.frame_weight, self.attention_weight = frame_weight, attention_weight
        self.label_smoothing, self.transducer_weight = label_smoothing, transducer_weight
        self.early_nats = early_nats

    def __call__(self, model: nn.Module, batch: Batch) -> LossSum:
        """Loss of a batch; ``model`` is a :class:`TrainedForward`, maybe wrapped.

        Raises:
            ValueError: a weight of a head that the model has not.
        """
        assert batch.tokens is not None and batch.token_lengths is not None
        outputs = model(batch)
        early = None
        if self.early_nats > 0 and batch.frame_tokens is not None:
            classes = outputs.ctc_logits.shape[-1]
            early = early_tokens(batch.frame_tokens, batch.tokens, classes, self.early_nats)
        loss = ctc_loss_sum(
            outputs.ctc_logits, batch.lengths, batch.tokens, batch.token_lengths, early
        )
        # Every name in every batch, whatever its streams: the processes add these up together.
        logs = {"ctc": float(loss.total.detach()), **{f"frames_{name}": 0.0 for name in STREAMS}}
        total = (1 - self.attention_weight) * loss.total
        if self.attention_weight > 0:
            if outputs.attention_logits is None:
                raise ValueError(
                    f"attention_weight {self.attention_weight} needs an attention decoder; set the "
                    "model's decoder_layers above 0"
                )
            part = attention_loss_sum(
                outputs.attention_logits, batch.tokens, batch.token_lengths, self.label_smoothing
            )
            total = total + self.attention_weight * part.total
            logs |= {"attention": float(part.total.detach()), **part.logs}
        if self.transducer_weight > 0:
            if outputs.transducer_logits is None:
                raise ValueError(
                    f"transducer_weight {self.transducer_weight} needs a transducer; set the "
                    "model's transducer to True"
                )
            part = transducer_loss_sum(
                outputs.transducer_logits, batch.lengths, batch.tokens, batch.token_lengths
            )
            total = total + self.transducer_weight * part.total
            logs["transducer"] = float(part.total.detach())
        if self.frame_weight > 0 and batch.frame_tokens is not None:
            for name, (frame_logits, present) in outputs.frames.items():
                frames = frame_loss_sum(frame_logits, batch.frame_tokens, present)
                total = total + self.frame_weight * frames
                logs[f"frames_{name}"] = float(frames.detach())
        return LossSum(total, loss.count, logs)
