"""Which utterances of a split CTC can be trained on, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from avsr.text import Tokenizer, normalise

if TYPE_CHECKING:
    import datasets

Kind = Literal["empty transcript", "characters outside the vocabulary", "more tokens than frames"]
_ROWS_AT_ONCE = 1000  # of texts and lengths only


@dataclass(frozen=True)
class LeftOut:
    """An utterance that is not trained on."""

    index: int  # row of the split
    utterance_id: str
    kind: Kind
    reason: str

    def to_row(self) -> dict[str, Any]:
        """A line of ``left_out.jsonl``."""
        return {"utterance_id": self.utterance_id, "kind": self.kind, "reason": self.reason}


def frames_needed(tokens: Sequence[int]) -> int:
    """Shortest utterance that has a CTC path: each token a frame, and a blank between repeats."""
    return len(tokens) + sum(a == b for a, b in zip(tokens, tokens[1:], strict=False))


def untrainable(
    rows: datasets.Dataset, tokenizer: Tokenizer, shortest: float = 1.0
) -> list[LeftOut]:
    """Rows whose CTC loss would be infinite, meaningless, or teach the unknown token.

    Args:
        rows: a prepared split; only names, texts and lengths are read.
        tokenizer: of the network to train.
        shortest: of an utterance's length, 0-1, what augmentation leaves of it.
    """
    found: list[LeftOut] = []
    columns = rows.select_columns(["utterance_id", "text", "num_frames"])
    index = 0
    for part in columns.iter(batch_size=_ROWS_AT_ONCE):
        for name, text, frames in zip(
            part["utterance_id"], part["text"], part["num_frames"], strict=True
        ):
            problem = _problem(text, max(1, round(frames * shortest)), tokenizer)
            if problem is not None:
                found.append(LeftOut(index, name, *problem))
            index += 1
    return found


def _problem(text: str, num_frames: int, tokenizer: Tokenizer) -> tuple[Kind, str] | None:
    if not normalise(text):
        return "empty transcript", f"nothing is left of {text!r} once normalised"
    if unknown := tokenizer.unknown_characters(text):
        return (
            "characters outside the vocabulary",
            f"{''.join(unknown)!r} of {text!r} were not in the texts that made the tokenizer",
        )
    needed = frames_needed(tokenizer.encode(text))
    if needed > num_frames:
        return (
            "more tokens than frames",
            f"{text!r} needs {needed} frames with the blanks between repeats, has {num_frames}",
        )
    return None


def summary(left_out: Sequence[LeftOut], total: int) -> str:
    """One line: how many are left out of how many, by kind."""
    counts = Counter(one.kind for one in left_out)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return f"{len(left_out)} of {total} utterances are not trained on: {kinds or 'none'}"
