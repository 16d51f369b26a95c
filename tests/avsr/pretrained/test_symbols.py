from __future__ import annotations

from pathlib import Path

import pytest

from avsr.pretrained.symbols import (
    check_symbols,
    read_auto_avsr_units,
    read_fairseq_dictionary,
    text_of,
)


def test_units_of_auto_avsr(tmp_path: Path) -> None:
    path = tmp_path / "units.txt"
    path.write_text("<unk> 1\n' 2\n\u2581BIN 3\nS 4\n\u2581LAY 5\n", encoding="utf-8")
    symbols = read_auto_avsr_units(path)
    assert symbols == ["<blank>", "<unk>", "'", "\u2581BIN", "S", "\u2581LAY", "<eos>"]
    assert text_of(symbols, [3, 2, 4, 5, 6]) == "bin's lay"
    assert text_of(symbols, [3, 1, 5, 0]) == "bin \u2047 lay"
    assert text_of(symbols, []) == ""
    check_symbols(symbols, 7, "units.txt")
    with pytest.raises(ValueError, match=r"units.txt: 7 symbols.*5049 outputs"):
        check_symbols(symbols, 5049, "units.txt")


def test_a_fairseq_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "dict.wrd.txt"
    path.write_text("\u2581the 12\ns 3 #fairseq:overwrite\n", encoding="utf-8")
    symbols = read_fairseq_dictionary(path)
    assert symbols == ["<s>", "<pad>", "</s>", "<unk>", "\u2581the", "s"]
    assert text_of(symbols, [2, 4, 5, 1, 4]) == "thes the"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a 1\nb 3\n", "units.txt:2: 'b 3' is not 'piece 2'"),
        (b"a\n", "units.txt:1: 'a' is not 'piece 1'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "units.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_auto_avsr_units(path)


def test_a_dictionary_needs_counts(tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_text("a 1\nb\n")
    with pytest.raises(ValueError, match="dict.txt:2: 'b' is not 'symbol count'"):
        read_fairseq_dictionary(path)
