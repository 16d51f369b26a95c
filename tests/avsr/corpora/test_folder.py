"""A folder of one's own videos and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.corpora.clips import CorpusError
from avsr.corpora.folder import prepare, read_table, split_of_speaker
from avsr.data.manifest import decode_row, load_info, load_prepared
from avsr.files import read_jsonl
from avsr.text import train_tokenizer

from .stand_in import film, install


def table(folder: Path, *lines: str, header: str = "file\ttext\tspeaker\tsplit") -> Path:
    path = folder / "list.tsv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def run(root: Path, listed: Path, out: Path, **options: Any) -> Path:
    given = {"num_processes": 1, "progress": False, "say": lambda _: None, **options}
    return prepare(root, listed, out, landmarker_model="stand-in", **given)


TIMES = "file\ttext\tspeaker\tsplit\tstart_s\tend_s"


def test_whole_films_and_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    film(tmp_path / "talks/long.mp4", [100 + k for k in range(100)])
    film(tmp_path / "short.mp4", [90] * 30)
    listed = table(
        tmp_path,
        "talks/long.mp4\tHello, world!\tann\ttrain\t0.4\t1.2",
        'talks/long.mp4\tSecond "part\tann\ttrain\t1.19\t2.0',
        "short.mp4\tbob speaks\tbob\ttest\t\t",
        "gone.mp4\tnot here\tbob\ttest\t\t",
        header=TIMES,
    )
    out = run(tmp_path, listed, tmp_path / "out")
    first, second = (decode_row(row) for row in load_prepared(out, "train"))
    assert first.utterance_id == "talks/long-0000" and first.text == "hello world"
    assert second.text == "second part" and (first.num_frames, second.num_frames) == (20, 21)
    tone = 0.1 * np.sin(np.arange(64000) / 9)
    assert np.corrcoef(first.audio, tone[6400:19200])[0, 1] > 0.99  # sound of the same stretch
    [test] = (decode_row(row) for row in load_prepared(out, "test"))
    assert test.utterance_id == "short" and test.num_frames == 30
    [row] = read_jsonl(out / "skipped.jsonl")
    assert "gone.mp4: no such file" in row["reason"]
    assert load_info(out)["speaker_dependent"] is False


def test_training_texts_are_checked_against_a_recognisers_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    for name in ("a", "b"):
        film(tmp_path / f"{name}.mp4")
    listed = table(tmp_path, "a.mp4\tone two\ta\ttrain", "b.mp4\tone ß\tb\ttrain")
    model = train_tokenizer(["one two three"], 30)
    out = run(tmp_path, listed, tmp_path / "out", tokenizer=model)
    assert list(load_prepared(out, "train")["utterance_id"]) == ["a"]
    [row] = read_jsonl(out / "skipped.jsonl")
    assert row["utterance_id"] == "b" and "outside the vocabulary: ß" in row["reason"]
    assert (out / "tokenizer.model").read_bytes() == model


def test_without_speaker_and_split_every_file_is_its_own(tmp_path: Path) -> None:
    listed = table(tmp_path, "x/a.mp4\tone", "x/b.mp4\ttwo", header="file\ttext")
    first, second = read_table(listed, tmp_path)
    assert (first.speaker_id, second.speaker_id) == ("x/a", "x/b")
    assert first.split == split_of_speaker("x/a")
    splits = [split_of_speaker(str(k)) for k in range(2000)]
    assert abs(splits.count("valid") - 200) < 60 and abs(splits.count("test") - 200) < 60


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("file\ttxt", ["a.mp4\tb"], "list.tsv:1: header lacks text"),
        ("file,text", ["a.mp4,b"], "list.tsv:1: header lacks file, text"),
        ("file\ttext\tage", ["a.mp4\tb\t3"], "list.tsv:1: header has age"),
        ("file\ttext", [], "has a header but no line"),
        ("file\ttext", ["\tb"], "list.tsv:2: names no file"),
        ("file\ttext", ["a.mp4\tb\tc"], "list.tsv:2: .*more fields"),
        ("file\ttext\tsplit", ["a.mp4\tb\tdev"], "list.tsv:2: split 'dev'"),
        ("file\ttext\tstart_s", ["a.mp4\tb\t1"], "list.tsv:2: start_s '1', end_s ''"),
        ("file\ttext\tstart_s\tend_s", ["a.mp4\tb\t2\t1"], "list.tsv:2: start_s '2', end_s '1'"),
        ("file\ttext\tstart_s\tend_s", ["a.mp4\tb\tx\t1"], "list.tsv:2: start_s 'x'"),
        ("file\ttext", ["a.mp4\tb", "a.mp4\tc"], "a.mp4 has 2 lines"),
        ("file\ttext", ["a.mp4\tb", "a.mov\tc"], "a.mp4 and a.mov would have one id"),
    ],
)
def test_bad_tables_say_where_and_what(
    tmp_path: Path, header: str, lines: list[str], message: str
) -> None:
    with pytest.raises(CorpusError, match=message) as caught:
        read_table(table(tmp_path, *lines, header=header), tmp_path)
    assert "\n" not in str(caught.value)


def test_several_speakers_in_a_file_are_refused(tmp_path: Path) -> None:
    listed = table(
        tmp_path, "a.mp4\tx\tann\ttrain\t0\t1", "a.mp4\ty\tbob\ttrain\t1\t2", header=TIMES
    )
    with pytest.raises(CorpusError, match="several speakers"):
        read_table(listed, tmp_path)
    with pytest.raises(CorpusError, match="no such table"):
        read_table(tmp_path / "none.tsv", tmp_path)


def test_stretches_after_the_end_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    film(tmp_path / "a.mp4", [100] * 25)
    listed = table(
        tmp_path, "a.mp4\tx\tann\ttrain\t0.2\t0.8", "a.mp4\ty\tann\ttrain\t5\t6", header=TIMES
    )
    out = run(tmp_path, listed, tmp_path / "out")
    assert list(load_prepared(out, "train")["utterance_id"]) == ["a-0000"]
    [row] = read_jsonl(out / "skipped.jsonl")
    assert row["utterance_id"] == "a-0001" and "ends before 5.00 s" in row["reason"]
