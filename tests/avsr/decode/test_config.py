"""What decoding refuses."""

from __future__ import annotations

import math

import pytest

from avsr.decode.config import DecodingConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "guess"}, "greedy, ctc, joint"),
        ({"beam_size": 0}, "beam_size 0"),
        ({"ctc_weight": 1.1}, "ctc_weight 1.1"),
        ({"lm_weight": -1.0}, "lm_weight -1.0"),
        ({"lm_weight": math.inf}, "lm_weight inf"),
        ({"length_bonus": math.nan}, "length_bonus nan"),
    ],
)
def test_impossible_decoding_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecodingConfig(**change)
