"""How logits become text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Method = Literal["greedy", "ctc", "joint", "transducer"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True)
class DecodingConfig:
    """Method and weights of decoding.

    ``"greedy"`` is CTC's best path, ``"ctc"`` its prefix beam; both look at nothing below but the
    beam. ``"transducer"`` is a transducer's beam, and its best path with ``beam_size`` 1.
    ``"joint"`` maximises, over token sequences h of at most one token a frame,

        (1 - ctc_weight) log P_attention(h) + ctc_weight log P_ctc(h)
            + lm_weight log P_language_model(h) + length_bonus |h|
    """

    method: Method = "ctc"
    beam_size: int = 10
    ctc_weight: float = 0.3  # 1 needs no attention decoder, 0 looks at no CTC
    lm_weight: float = 0.0  # 0 is off
    length_bonus: float = 0.0  # nats a token, the end of the sentence not counted

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"decoding method {self.method!r} is not one of {', '.join(METHODS)}")
        if self.beam_size < 1:
            raise ValueError(f"beam_size {self.beam_size} must be at least 1")
        if not 0.0 <= self.ctc_weight <= 1.0:
            raise ValueError(f"ctc_weight {self.ctc_weight} must be in [0, 1]")
        if not (math.isfinite(self.lm_weight) and self.lm_weight >= 0):
            raise ValueError(f"lm_weight {self.lm_weight} must be 0 (off) or more")
        if not math.isfinite(self.length_bonus):
            raise ValueError(f"length_bonus {self.length_bonus} is not a number of nats")
