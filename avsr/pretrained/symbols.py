"""Lists of text units that come with published weights: token ids to text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avsr.text import UNKNOWN_SURFACE, normalise

WORD_START = "\u2581"  # SentencePiece's mark of a word's first piece
FAIRSEQ_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
NOT_TEXT = {*FAIRSEQ_SPECIAL, "<blank>", "<eos>"}


def read_auto_avsr_units(path: Path | str) -> list[str]:
    """Symbols of Auto-AVSR's units file (``unigram5000_units.txt``), blank first and end last.

    Each line is a piece and its id; ids run from 1.

    Raises:
        ValueError: missing, not such lines, or ids that are not 1, 2, 3 ...; names file and line.
    """
    symbols = ["<blank>"]
    for number, words in enumerate(_lines(path), 1):
        if len(words) != 2 or words[1] != str(number):
            raise ValueError(
                f"{path}:{number}: {' '.join(words)!r} is not 'piece {number}'; give Auto-AVSR's "
                "units file, such as unigram5000_units.txt"
            )
        symbols.append(words[0])
    return [*symbols, "<eos>"]


def read_fairseq_dictionary(path: Path | str) -> list[str]:
    """Symbols of a fairseq dictionary (``dict.wrd.txt``), its four special ones first.

    Each line is a symbol and its count.

    Raises:
        ValueError: missing, or not such lines; names file and line.
    """
    symbols = list(FAIRSEQ_SPECIAL)
    for number, words in enumerate(_lines(path), 1):
        if len(words) < 2 or not words[1].lstrip("-").isdigit():
            raise ValueError(
                f"{path}:{number}: {' '.join(words)!r} is not 'symbol count'; give the dictionary "
                "that the weights were fine-tuned with, such as dict.wrd.txt"
            )
        symbols.append(words[0])
    return symbols


def _lines(path: Path | str) -> list[list[str]]:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file of text units; check the path")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason}); is it the model file?") from (
            error
        )
    if not lines:
        raise ValueError(f"{path}: is empty; copy it again")
    return [line.split() for line in lines]


def check_symbols(symbols: Sequence[str], vocabulary_size: int, where: str) -> None:
    """Refuse a list that is not the network's.

    Raises:
        ValueError: another number of symbols than the network's outputs.
    """
    if len(symbols) != vocabulary_size:
        raise ValueError(
            f"{where}: {len(symbols)} symbols, special ones included, but the weights have "
            f"{vocabulary_size} outputs; give the file that belongs to them"
        )


def text_of(symbols: Sequence[str], ids: Sequence[int]) -> str:
    """Normalised text of token ids; special symbols go, an unknown one shows as U+2047."""
    pieces = [symbols[token] for token in ids if symbols[token] not in NOT_TEXT - {"<unk>"}]
    joined = "".join(WORD_START + "\0" if piece == "<unk>" else piece for piece in pieces)
    spoken = joined.replace(WORD_START, " ")
    return " ".join(
        normalise(part) if part != "\0" else UNKNOWN_SURFACE
        for part in _split_unknown(spoken)
        if part == "\0" or normalise(part)
    )


def _split_unknown(text: str) -> list[str]:
    parts: list[str] = []
    for index, part in enumerate(text.split("\0")):
        parts += [part] if index == 0 else ["\0", part]
    return parts
