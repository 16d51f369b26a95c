"""Texts of a noisy test, from outside and by ear: scored, compared, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from avsr.compare import ComparisonError, compare, comparison_table
from avsr.conditions import Bootstrap, ScoringError
from avsr.data.utterance_list import UtteranceList
from avsr.files import read_jsonl
from avsr.noisy_test import NoisyTest, load
from avsr.noisy_test_building import build
from avsr.noisy_test_decoding import SeeingSystem, decode_by_ear, decode_with_video
from avsr.recognize_files import AdapterChoice
from avsr.report import write_outputs
from avsr.score_files import Given, SystemTexts, gather, score_test
from tests.avsr.made_up_noisy_test import settings

QUICK = Bootstrap(num_resamples=100)


def texts_of(built_test: Path, path: Path, wrong: str = "", suffix: str = "") -> Path:
    """The references by mixture id, those of one noise replaced."""
    test = load(built_test)
    said = {name: text for name, _, text in test.facts["utterances"]}
    lines = [
        f"{row.mixture_id}{suffix}\t{'no' if row.noise_type == wrong else said[row.utterance_id]}"
        for row in test.manifest.rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def scored(built_test: Path, out: Path, *files: SystemTexts, **told: object) -> dict:
    manifest, _ = gather(built_test, files, out)
    return score_test(built_test, out, manifest, bootstrap=QUICK, **told)


def test_outside_texts_are_scored_in_every_condition_and_room(built_test, tmp_path):
    good = texts_of(built_test, tmp_path / "good.tsv", suffix=".wav")
    poor = texts_of(built_test, tmp_path / "poor.tsv", wrong="hum")
    files = [SystemTexts.parse(f"one={good}"), SystemTexts(poor)]
    result = scored(built_test, tmp_path / "all.jsonl", *files)
    assert {row["system"] for row in result["rows"]} == {"one", "poor"}
    wer = {
        (row["system"], row["reverberation"], row["noise_type"]): row["wer"]
        for row in result["rows"]
        if row["scope"] == "pooled"
    }
    assert wer["one", "none", "hum"] == 0 == wer["poor", "measured", "babble_2"]
    # 'Lay red, at 4 now!' 5, 'bin blue' 2, 'set b white b again' 5 words; all but one gone.
    assert wer["poor", "measured", "hum"] == 1.0
    assert result["protocol"]["matched_noise"] == {
        "hum": None,
        "babble_2": None,
        "speech_shaped": None,
    }
    kinds = {one["kind"] for one in result["comparisons"]}
    assert kinds == {"system_vs_system", "disturbed_vs_undisturbed"}
    pages = write_outputs(tmp_path / "report", result)
    text = pages["report"].read_text()
    assert "<b>white" not in text and "measured" in text


def test_numbers_count_as_words_only_where_it_is_asked_for(built_test, tmp_path):
    path = texts_of(built_test, tmp_path / "t.tsv")
    path.write_text(path.read_text().replace("at 4 now", "AT FOUR NOW"))
    strict = scored(built_test, tmp_path / "a.jsonl", SystemTexts(path))
    loose = scored(built_test, tmp_path / "b.jsonl", SystemTexts(path), spell_numbers=True)
    clean = [
        next(row for row in one["rows"] if row["snr_db"] is None)["wer"] for one in (strict, loose)
    ]
    assert clean == [pytest.approx(1 / 12), 0.0]
    assert strict["provenance"]["normaliser_version"] == "1"
    with pytest.raises(ComparisonError, match=r"differ in spell_numbers \(False against True\)"):
        compare(strict, loose)


def test_missing_texts_are_deletions_and_are_counted(built_test, tmp_path):
    path = texts_of(built_test, tmp_path / "t.tsv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "u1-hum" not in line) + "\n\n")
    manifest, notes = gather(built_test, [SystemTexts(path, "x")], tmp_path / "h.jsonl")
    assert "150 of 168 mixtures of x, read as TSV; 18 missing" in notes[0]
    assert "1 empty lines" in notes[0]
    result = score_test(built_test, tmp_path / "h.jsonl", manifest, bootstrap=QUICK)
    row = next(r for r in result["rows"] if r["noise_type"] == "hum" and r["scope"] == "pooled")
    assert row["coverage"] == pytest.approx(2 / 3) and row["deletions"] == 6
    assert not result["audit"]["passed"]


def test_unknown_and_repeated_mixtures_are_named_with_their_line(built_test, tmp_path):
    path = texts_of(built_test, tmp_path / "t.tsv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[4]]) + "\n")
    with pytest.raises(
        ScoringError, match=r"t\.tsv:169: mixture .* is there twice, first on line 5"
    ):
        gather(built_test, [SystemTexts(path)], tmp_path / "h.jsonl")
    path.write_text("s_u9-clean\tyes\n")
    with pytest.raises(ScoringError, match=r"t\.tsv:1: 's_u9-clean' is none of the 168 mixtures"):
        gather(built_test, [SystemTexts(path)], tmp_path / "h.jsonl")


def test_seen_systems_say_what_they_were_given(built_test, tmp_path):
    path = texts_of(built_test, tmp_path / "t.tsv")
    given = Given("audio_visual", "mouth_crops", "frozen_1")
    manifest, _ = gather(built_test, [SystemTexts(path)], tmp_path / "h.jsonl", given=given)
    told = {"video_conditions": ("clean", "frozen_1")}
    result = score_test(built_test, tmp_path / "h.jsonl", manifest, bootstrap=QUICK, **told)
    assert {row["video_condition"] for row in result["rows"]} == {"frozen_1"}


# Comparison


def test_results_of_one_test_are_compared_pairwise(built_test, tmp_path):
    good = texts_of(built_test, tmp_path / "good.tsv")
    poor = texts_of(built_test, tmp_path / "poor.tsv", wrong="hum")
    a, b = (
        scored(built_test, tmp_path / f"{one.stem}.jsonl", SystemTexts(one)) for one in (good, poor)
    )
    found = compare(json.loads(json.dumps(a)), b, bootstrap=QUICK)
    rows = {
        (row["a"]["reverberation"], row["noise_type"], row["snr_db"]): row for row in found["rows"]
    }
    assert len(rows) == 2 * (1 + 9 + 1)
    hum = rows["none", "hum", 0.0]
    assert (hum["wer_a"], hum["wer_b"], hum["difference"]) == (0.0, 1.0, -1.0)
    assert rows["none", "none", None]["difference"] == 0.0
    assert rows["none", "all", None]["difference"] == pytest.approx(-1 / 3)
    table = comparison_table(found)
    assert "| good (audio) | poor (audio) | hum 0 dB | 0.0 | 100.0 | " in table
    assert "poor (audio, room measured)" in table


def test_results_of_two_tests_are_not_compared(place, built_test, tmp_path):
    first = scored(
        built_test, tmp_path / "a.jsonl", SystemTexts(texts_of(built_test, tmp_path / "a.tsv"))
    )
    options = {"snrs_db": (-5.0, 0.0), "noise_types": ("hum",), "reverberations": ("none",)}
    build(settings(place, **options), tmp_path / "other")
    texts = texts_of(tmp_path / "other", tmp_path / "b.tsv")
    second = scored(tmp_path / "other", tmp_path / "b.jsonl", SystemTexts(texts))
    with pytest.raises(
        ComparisonError, match=r"differ in snrs_db \(3 of them, among them 5\.0"
    ) as why:
        compare(first, second)
    assert all(
        name in str(why.value) for name in ("test_noises", "reverberations", "manifest_sha256")
    )
    with pytest.raises(ComparisonError, match=r"b is \('avsr\.results', 1\)"):
        compare(first, second | {"schema_version": 1})
    two = scored(
        built_test,
        tmp_path / "c.jsonl",
        SystemTexts(tmp_path / "a.tsv", "x"),
        SystemTexts(tmp_path / "a.tsv", "y"),
    )
    with pytest.raises(ComparisonError, match=r"b has several systems \(x, y\).*--system-b"):
        compare(first, two)
    assert compare(first, two, system_b="y", bootstrap=QUICK)["rows"][0]["b"]["system"] == "y"
    with pytest.raises(ComparisonError, match="b has no system 'z'"):
        compare(first, two, system_b="z")


# Decoding


ECHO = (
    'python3 -c "import sys; lines = open(sys.argv[1]).read().split(chr(10)); '
    "open(sys.argv[2], 'w').write(chr(10).join(l.split(chr(9))[0] + chr(9) + 'lay red' "
    "for l in lines if l and not l.startswith('id')))\" {list} {out}"
)


def test_any_command_hears_a_noisy_test_and_goes_on_where_it_stopped(place, tmp_path):
    options = {"noise_types": ("hum",), "reverberations": ("none",), "seeds": (0,)}
    test = build(settings(place, **options), tmp_path / "test")
    choice = AdapterChoice("command", name="echo", command=ECHO)
    facts = decode_by_ear(test, choice, tmp_path / "echo")
    assert facts["system"] == "echo"
    rows = list(read_jsonl(tmp_path / "echo" / "hypotheses.jsonl"))
    assert len(rows) == len(test.manifest.rows) and {row["hypothesis"] for row in rows} == {
        "lay red"
    }
    part = tmp_path / "echo" / "parts" / "s__u0.jsonl"
    before = part.stat().st_mtime_ns
    (tmp_path / "echo" / "parts" / "s__u1.jsonl").unlink()
    decode_by_ear(test, choice, tmp_path / "echo")
    assert part.stat().st_mtime_ns == before
    assert len(list(read_jsonl(tmp_path / "echo" / "hypotheses.jsonl"))) == len(rows)
    result = scored(
        tmp_path / "test", tmp_path / "h.jsonl", SystemTexts(tmp_path / "echo" / "hypotheses.jsonl")
    )
    assert {row["system"] for row in result["rows"]} == {"echo"}
    heard = tmp_path / "echo" / "hypotheses.jsonl"
    named = scored(tmp_path / "test", tmp_path / "n.jsonl", SystemTexts.parse(f"renamed={heard}"))
    assert {row["system"] for row in named["rows"]} == {"renamed"}
    both = tmp_path / "both.jsonl"
    lines = heard.read_text() + (tmp_path / "n.jsonl").read_text()
    both.write_text(lines)
    with pytest.raises(ScoringError, match="holds echo, renamed, which cannot all be called x"):
        gather(tmp_path / "test", [SystemTexts(both, "x")], tmp_path / "x.jsonl")
    with pytest.raises(ValueError, match="come from another"):
        decode_by_ear(test, replace(choice, name="other"), tmp_path / "echo")


def test_pictures_need_a_prepared_corpus(place, built_test, tmp_path):
    with pytest.raises(ValueError, match="needs a prepared corpus"):
        decode_with_video(load(built_test), [], tmp_path)
    test = replace(load(built_test), utterances=replace_rows(load(built_test)))
    told = SeeingSystem("x", "best.safetensors", ("generated_from_noisy",))
    with pytest.raises(
        ValueError, match=r"generated_from_noisy are not of mouth_crops.*closed-loop"
    ):
        decode_with_video(test, [told], tmp_path)


def replace_rows(test: NoisyTest) -> UtteranceList:
    """The test's list as if it were of a prepared corpus."""
    return UtteranceList(test.utterances.entries, test.utterances.source, rows=())
