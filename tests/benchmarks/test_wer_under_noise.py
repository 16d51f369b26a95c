"""The published noise benchmark: what it tells of a result, and that a part runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsr.files import read_json, read_jsonl, write_json, write_jsonl
from benchmarks import wer_under_noise
from benchmarks.wer_under_noise import GRAMMAR, Measured, Settings, accented, page


def test_seconds_add_up_until_a_part_is_done_and_no_longer(tmp_path, monkeypatch):
    clock = iter([0.0, 10.0, 100.0, 105.0, 200.0, 300.0])
    monkeypatch.setattr(wer_under_noise.time, "monotonic", lambda: next(clock))
    measured = Measured(None, tmp_path)  # type: ignore[arg-type]

    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured.timed("decode", stopped)
    assert measured.timed("decode", lambda: "done") == "done"
    assert measured.seconds == {"decode": 15.0}
    measured.timed("decode", lambda: "again")
    assert measured.seconds == {"decode": 15.0}


def test_the_grammar_is_grids():
    assert GRAMMAR.startswith("#JSGF V1.0;") and "{letters}" in GRAMMAR
    for word in ("bin", "white", "with", "zero", "soon"):
        assert word in GRAMMAR


def test_settings_without_data_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("AVSR_DATA", raising=False)
    with pytest.raises(ValueError, match="has no speechocean762/ and noise/"):
        Settings(data=tmp_path).root  # noqa: B018


@pytest.mark.slow
@pytest.mark.real_data
def test_a_part_is_built_decoded_scored_and_published(avsr_data: Path, tmp_path, monkeypatch):
    settings = Settings(
        data=avsr_data,
        work=tmp_path / "work",
        out=tmp_path / "out",
        processes=1,
        limit=2,
        systems=("pocketsphinx",),
        resamples=50,
    )
    accented(settings)
    document = read_json(tmp_path / "out" / "wer_under_noise_accented.json")
    assert {row["system"] for row in document["rows"]} == {"pocketsphinx en-us"}
    assert document["protocol"]["num_utterances"] == 2 and document["protocol"]["spell_numbers"]
    assert document["protocol"]["matched_noise"] == {"babble_4": True}
    assert str(avsr_data) not in str(document) and str(tmp_path) not in str(document)
    text = (tmp_path / "out" / "wer_under_noise_accented.md").read_text()
    assert text == page(document, "accented")
    assert "Mixture manifest `" in text and "14 mixtures" in text
    again = list(read_jsonl(tmp_path / "work" / "accented" / "hypotheses.jsonl"))
    accented(settings)  # nothing is decoded twice
    assert list(read_jsonl(tmp_path / "work" / "accented" / "hypotheses.jsonl")) == again
    path = tmp_path / "copy.jsonl"
    write_jsonl(path, again)
    write_json(tmp_path / "copy.json", document)
    assert len(again) == 14
