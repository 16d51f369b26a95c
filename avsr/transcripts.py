"""Two transcripts word by word: what was kept, substituted, deleted, inserted; as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal


@dataclass(frozen=True)
class AlignedWord:
    """One step of the alignment; ``reference`` is empty for an insertion, ``hypothesis`` for a
    deletion."""

    kind: Literal["equal", "substitution", "deletion", "insertion"]
    reference: str
    hypothesis: str


def align_words(*, reference: str, hypothesis: str) -> list[AlignedWord]:
    """Minimum edit alignment of two normalised texts, in order (jiwer, as in the scores)."""
    said, heard = reference.split(), hypothesis.split()
    if not said:
        return [AlignedWord("insertion", "", word) for word in heard]
    if not heard:
        return [AlignedWord("deletion", word, "") for word in said]
    import jiwer

    chunks = jiwer.process_words(" ".join(said), " ".join(heard)).alignments[0]
    aligned = []
    for chunk in chunks:
        ours = said[chunk.ref_start_idx : chunk.ref_end_idx]
        theirs = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "delete":
            aligned += [AlignedWord("deletion", word, "") for word in ours]
        elif chunk.type == "insert":
            aligned += [AlignedWord("insertion", "", word) for word in theirs]
        else:
            kind: Literal["equal", "substitution"] = (
                "equal" if chunk.type == "equal" else "substitution"
            )
            aligned += [AlignedWord(kind, *pair) for pair in zip(ours, theirs, strict=True)]
    return aligned


def transcript_html(aligned: list[AlignedWord]) -> str:
    """The words as spans; every error is told by shape and by hidden text, not by colour alone."""
    parts = []
    for word in aligned:
        said, heard = escape(word.reference), escape(word.hypothesis)
        if word.kind == "equal":
            parts.append(f'<span class="w">{heard}</span>')
        elif word.kind == "substitution":
            parts.append(
                f'<span class="w sub"><u>{heard}</u><small>'
                f'<span class="hidden">(wrong, was said: </span>{said}'
                '<span class="hidden">)</span></small></span>'
            )
        elif word.kind == "deletion":
            parts.append(
                f'<del class="w del"><span class="hidden">(missed: </span>{said}'
                '<span class="hidden">)</span></del>'
            )
        else:
            parts.append(
                f'<ins class="w ins"><span class="hidden">(added: </span>+{heard}'
                '<span class="hidden">)</span></ins>'
            )
    return " ".join(parts)


def error_summary(aligned: list[AlignedWord]) -> str:
    """Such as ``"2 of 6 words wrong"``; insertions are named apart."""
    words = sum(word.kind != "insertion" for word in aligned)
    wrong = sum(word.kind in ("substitution", "deletion") for word in aligned)
    added = sum(word.kind == "insertion" for word in aligned)
    text = f"{wrong} of {words} words wrong" if wrong else f"all {words} words right"
    return text + (f", {added} added" if added else "")
