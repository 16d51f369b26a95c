from __future__ import annotations

import json

import pytest

from avsr.hypothesis_files import read_hypothesis_file


def pairs(path, **options):
    found = read_hypothesis_file(path, **options)
    return [(one.name, one.text) for one in found.texts], found.layout, found.empty_lines


def test_json_lines_of_anyone(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text(
        '{"id": "a", "text": "Yes, 4"}\n\n{"utt_id": "b", "hypo": null}\n{"key": 7, "pred": "x"}\n'
    )
    assert pairs(path) == ([("a", "Yes, 4"), ("b", ""), ("7", "x")], "JSON lines", 1)


@pytest.mark.parametrize("head", ["", "utterance_id\thypothesis\n"])
def test_tsv_with_and_without_a_header(tmp_path, head):
    path = tmp_path / "h.tsv"
    path.write_text(head + "a\tyes no\nb\t\nc\n\n")
    assert pairs(path) == ([("a", "yes no"), ("b", ""), ("c", "")], "TSV", 1)


def test_tsv_columns_in_any_order_and_more_of_them(tmp_path):
    path = tmp_path / "h.tsv"
    path.write_text("score\ttext\tid\n0.1\tyes no\ta\n")
    assert pairs(path)[0] == [("a", "yes no")]


def test_kaldi_text_and_windows_line_ends(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"a yes  no\r\nb\r\n\r\n")
    assert pairs(path) == ([("a", "yes  no"), ("b", "")], "Kaldi text", 1)


def test_fairseq_takes_the_detokenised_lines_by_number(tmp_path):
    path = tmp_path / "generate.txt"
    path.write_text(
        "T-1\tref\nH-1\t-0.2\t\u2581yes\nD-1\t-0.2\tyes\nP-1\t-0.1\nH-0\t-1\t\u2581no\nD-0\t-1\tno\nD-2\t-1\n"
    )
    found, layout, _ = pairs(path, order=["a", "b", "c"])
    assert (sorted(found), layout) == ([("a", "no"), ("b", "yes"), ("c", "")], "fairseq")
    path.write_text("H-0\t-1\tno\n")
    assert pairs(path, order=["a"])[0] == [("a", "no")]
    with pytest.raises(ValueError, match="give the list that was decoded"):
        read_hypothesis_file(path)
    path.write_text("D-5\t-1\tno\n")
    with pytest.raises(ValueError, match=r"generate\.txt:1: sentence 5 is beyond the 1"):
        read_hypothesis_file(path, order=["a"])


def test_av_huberts_json(tmp_path):
    path = tmp_path / "hypo.json"
    path.write_text(json.dumps({"utt_id": ["a", "b"], "ref": ["x", "y"], "hypo": ["yes", "no"]}))
    assert pairs(path) == ([("a", "yes"), ("b", "no")], "AV-HuBERT", 0)
    path.write_text(json.dumps({"utt_id": ["a", "b"], "hypo": ["yes"]}))
    with pytest.raises(ValueError, match="lists of one length"):
        read_hypothesis_file(path)


def test_encodings(tmp_path):
    path = tmp_path / "h.tsv"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes("a\tna\u00efve\n".encode(encoding))
        assert pairs(path)[0] == [("a", "na\u00efve")]
    path.write_bytes(b"a\tyes\nb\tna\xefve\n")
    with pytest.raises(ValueError, match=r"h\.tsv:2: byte 0xef is no utf-8; .*--encoding"):
        read_hypothesis_file(path)
    assert pairs(path, encoding="latin-1")[0][1] == ("b", "na\u00efve")
    with pytest.raises(ValueError, match="encoding 'klingon' is unknown"):
        read_hypothesis_file(path, encoding="klingon")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no hypothesis"),
        ("\n \n", "holds no hypothesis"),
        ("utterance_id\ttext\n", "has a header and no hypothesis"),
        ("a\tb\nc\td\te\n", r"h\.x:2: 3 columns, the others have 2"),
        ('{"id": "a"}\n', "but not a text"),
        ('{"text": "a"}\n', "but not an id"),
        ('{"id": "a", "text": "b"}\n[1]\n', r"h\.x:2: is a list"),
        ('{"id": "a", "text": "b"}\n{"id\n', r"h\.x:2: is no JSON object"),
        ('{"id": "a", "text": ["b"]}\n{}\n', r"h\.x:1: \['b'\] is no text"),
    ],
)
def test_files_that_are_wrong(tmp_path, content, message):
    path = tmp_path / "h.x"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_hypothesis_file(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="no such file of hypotheses"):
        read_hypothesis_file(tmp_path / "none.tsv")
