"""Best-path CTC decoding."""

# B batch, T frames, K vocabulary with blank 0

from __future__ import annotations

from torch import Tensor


def ctc_greedy(logits: Tensor, lengths: Tensor) -> list[list[int]]:
    """Best label of each frame, repeats merged, blanks removed (Graves et al. 2006, sec. 3.2).

    Args:
        logits: (B, T, K), blank 0.
        lengths: int (B,) frames of each utterance; later frames are not looked at.

    Returns:
        for each utterance its token ids, each in [1, K).
    """
    best = logits.argmax(-1).cpu()
    decoded = []
    for row, length in zip(best, lengths.tolist(), strict=True):
        merged = row[:length].unique_consecutive().tolist()
        decoded.append([token for token in merged if token != 0])
    return decoded
