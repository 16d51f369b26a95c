"""A noisy test from a list and folders: built, rendered, audited, decoded and scored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avsr.compare import ComparisonError, compare, comparison_table
from avsr.conditions import Bootstrap, ScoringError
from avsr.data.utterance_list import UtteranceList
from avsr.files import read_audio, read_json, read_jsonl, sha256_file, write_wav
from avsr.noise import signal_power
from avsr.noisy_test import (
    NoisyTest,
    NoisyTestConfig,
    build,
    expected_of,
    load,
    protocol_of,
    read_test_facts,
)
from avsr.noisy_test_audit import audit_test
from avsr.noisy_test_decoding import SeeingSystem, decode_by_ear, decode_with_video
from avsr.noisy_test_files import render_test
from avsr.recognize_files import AdapterChoice
from avsr.report import write_outputs
from avsr.score_files import Given, SystemTexts, gather, score_test

QUICK = Bootstrap(num_resamples=100)
TEXTS = ("Lay red, at 4 now!", "bin blue", "set <b>white</b> again")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances of two speakers, two talkers, noise, and a room."""
    folder = tmp_path_factory.mktemp("place")
    lines, talkers = (
        ["utterance_id\tpath\ttext\tspeaker_id"],
        ["utterance_id\tpath\ttext\tspeaker_id"],
    )
    for number, text in enumerate(TEXTS):
        generator = np.random.default_rng(number)
        loud = np.repeat(generator.uniform(0, 0.4, 25), 640)
        write_wav(folder / "wav" / f"u{number}.wav", loud * generator.uniform(-1, 1, 16000))
        lines.append(f"s/u{number}\twav/u{number}.wav\t{text}\tspeaker{number % 2}")
        write_wav(folder / "talk" / f"t{number}.wav", 0.2 * generator.standard_normal(9000))
        talkers.append(f"t{number}\ttalk/t{number}.wav\thello\ttalker{number}")
    (folder / "list.tsv").write_text("\n".join(lines) + "\n")
    (folder / "talkers.tsv").write_text("\n".join(talkers) + "\n")
    generator = np.random.default_rng(9)
    # Shorter than an utterance: cross-faded.
    write_wav(folder / "noise" / "hum.wav", 0.1 * generator.standard_normal(7000) + 0.05)
    response = np.zeros(800)
    response[[10, 300]] = 0.9, 0.4
    write_wav(folder / "rirs" / "hall.wav", response)
    return folder


def settings(place: Path, **changes: object) -> NoisyTestConfig:
    config = NoisyTestConfig(
        corpus=place / "list.tsv",
        split="",
        noise=(place / "noise",),
        noise_types=("hum", "babble_2", "speech_shaped"),
        talkers=place / "talkers.tsv",
        snrs_db=(-5.0, 0.0, 5.0),
        rooms=place / "rirs",
        reverberations=("none", "measured"),
    )
    return replace(config, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def built_test(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "test"
    build(settings(place), folder)
    return folder


def test_every_condition_has_a_mixture_of_its_own_name(built_test):
    test = load(built_test)
    rows = test.manifest.rows
    # 3 utterances, 2 rooms, clean and 3 noises x 3 levels x 3 seeds.
    assert len(rows) == 3 * 2 * (1 + 27) == len({row.mixture_id for row in rows})
    assert {row.achieved_snr_db_utterance for row in rows if row.snr_db == 0.0} <= {0.0}
    assert "s_u0-hum-0dB-s2-measured" in {row.mixture_id for row in rows}
    assert [one.reference for one in expected_of(test.facts)] == list(TEXTS)
    protocol = protocol_of(test.facts, test.manifest)
    assert protocol.test_noises["hum"] == ("noise/hum.wav",)
    assert protocol.training_noise_known is False and protocol.reverberations == (
        "none",
        "measured",
    )


@pytest.mark.slow
def test_mixtures_are_the_same_bytes_on_one_and_two_processes_in_any_order(
    place, built_test, tmp_path
):
    """The manifest and each file are functions of the settings, not of who made them, or when."""
    twice = build(settings(place), tmp_path / "two", processes=2)
    assert twice.manifest.sha256 == load(built_test).manifest.sha256
    backwards = (place / "list.tsv").read_text().splitlines()
    other = place / "backwards.tsv"
    other.write_text("\n".join([backwards[0], *backwards[:0:-1]]) + "\n")
    reordered = build(settings(place, corpus=other, name="list"), tmp_path / "order")
    assert reordered.manifest.sha256 == twice.manifest.sha256
    hashes = []
    for test, processes in ((twice, 1), (twice, 2), (reordered, 1)):
        out = tmp_path / f"wavs{len(hashes)}"
        assert render_test(test, out, processes=processes) == len(twice.manifest.rows)
        hashes.append({path.name: sha256_file(path) for path in sorted((out / "wav").iterdir())})
    assert hashes[0] == hashes[1] == hashes[2] and len(hashes[0]) == 168


def test_files_hold_the_level_that_their_row_says(built_test, tmp_path):
    test = load(built_test)
    render_test(test, tmp_path)
    row = next(r for r in test.manifest.rows if r.mixture_id == "s_u1-hum-0dB-s1")
    speech = test.utterances.waveform("s/u1").astype(np.float64)
    mixture = read_audio(tmp_path / "wav" / f"{row.mixture_id}.wav").astype(np.float64)
    added = mixture - speech
    assert 10 * np.log10(signal_power(speech) / signal_power(added)) == pytest.approx(0, abs=0.01)
    listed = (tmp_path / "list.tsv").read_text().splitlines()
    assert listed[0] == "mixture_id\tpath" and len(listed) == 1 + len(test.manifest.rows)
    kept = {one["mixture_id"]: one for one in read_jsonl(tmp_path / "rendered.jsonl")}
    assert kept[row.mixture_id]["factor"] == 1.0
    # What was stopped goes on: a part that is there is not made again.
    (tmp_path / "wav" / f"{row.mixture_id}.wav").write_bytes(b"kept")
    render_test(test, tmp_path)
    assert (tmp_path / "wav" / f"{row.mixture_id}.wav").read_bytes() == b"kept"
    found = audit_test(test, share=1.0, rendered=tmp_path)
    assert [one["where"] for one in found["findings"] if one["level"] == "error"] == [
        row.mixture_id
    ]


def test_a_test_as_it_should_be_passes_its_audit(built_test):
    found = audit_test(load(built_test), share=0.05)
    assert found["passed"] and found["num_rederived"] == 8 and found["num_mixtures"] == 168


@pytest.mark.parametrize("fault", ["zero_db_is_clean", "zero_db_is_random"])
def test_the_audit_finds_the_bug_at_0_db_and_only_there(place, tmp_path, fault):
    options = {"noise_types": ("hum",), "reverberations": ("none",), "faults": (fault,)}
    found = audit_test(build(settings(place, **options), tmp_path / "test"), share=1.0)
    errors = [one for one in found["findings"] if one["level"] == "error"]
    assert not found["passed"]
    assert [(one["check"], one["where"]) for one in errors] == [("achieved_snr", "hum 0 dB")]
    assert fault in errors[0]["message"]


def test_the_audit_finds_noise_that_was_changed_and_files_that_are_gone(place, tmp_path):
    copy = tmp_path / "noise"
    write_wav(copy / "hum.wav", 0.1 * np.random.default_rng(1).standard_normal(30000))
    options = {"noise_types": ("hum",), "reverberations": ("none",), "noise": (copy,)}
    test = build(settings(place, **options), tmp_path / "test")
    render_test(test, tmp_path / "out")
    (tmp_path / "out" / "wav" / "s_u0-clean.wav").unlink()
    write_wav(copy / "hum.wav", 0.1 * np.random.default_rng(2).standard_normal(30000))
    checks = {
        one["check"]
        for one in audit_test(test, share=1.0, rendered=tmp_path / "out")["findings"]
        if one["level"] == "error"
    }
    assert checks == {"noise_files", "rederived", "rendered"}
    (copy / "hum.wav").unlink()
    messages = [one["message"] for one in audit_test(test)["findings"] if one["level"] == "error"]
    assert any("is not there" in message for message in messages)
    with pytest.raises(ValueError, match="share 0"):
        audit_test(test, share=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise_types": ()}, "no noise type chosen; there are white, pink, speech_shaped, hum"),
        ({"noise_types": ("rain",)}, "noise type 'rain' is not one of"),
        ({"noise_types": ("babble_9",)}, "needs 9 recordings"),
        ({"talkers": None, "noise_types": ("speech_shaped",)}, "needs the spectrum"),
        ({"preset": "kaldi"}, "preset 'kaldi' is not one of"),
        ({"seeds": (0, 0)}, "empty or repeat"),
        ({"seeds": (-1,)}, "whole numbers from 0 on"),
        ({"snrs_db": (float("nan"),)}, "is not a number of dB"),
        ({"faults": ("echo",)}, "unknown"),
        ({"rooms": None}, "needs recordings of responses"),
    ],
)
def test_settings_that_cannot_be(place, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        build(settings(place, **changes), tmp_path / "test")
    assert not (tmp_path / "test" / "test.json").exists()


def test_impossible_rooms_and_limits_are_refused_at_once(place):
    with pytest.raises(ValueError, match="room 'hall' is not none"):
        settings(place, reverberations=("hall",))
    with pytest.raises(ValueError, match="limit 1 must be 2"):
        settings(place, limit=1)


def test_silent_noise_and_talkers_of_the_test_are_refused(place, tmp_path):
    write_wav(tmp_path / "quiet" / "hum.wav", np.zeros(20000))
    with pytest.raises(ValueError, match=r"quiet.hum\.wav: .* is silent"):
        build(settings(place, noise=(tmp_path / "quiet",), noise_types=("hum",)), tmp_path / "a")
    with pytest.raises(ValueError, match="speaker speaker0 speaks in the test"):
        build(settings(place, talkers=place / "list.tsv"), tmp_path / "b")
    silent = tmp_path / "mute.tsv"
    silent.write_text(f"utterance_id\tpath\ttext\nu\t{place}/wav/u0.wav\t...\n")
    with pytest.raises(ValueError, match="1 utterances have no word"):
        build(settings(place, corpus=silent), tmp_path / "c")


def test_noise_shared_with_training_is_refused_unless_the_fault_is_asked_for(place, tmp_path):
    told = {"training_noise": (place / "noise",), "noise_types": ("hum",), "seeds": (0,)}
    with pytest.raises(ValueError, match="are in training too"):
        build(settings(place, **told), tmp_path / "a")
    test = build(settings(place, **told, faults=("shared_recording",)), tmp_path / "b")
    errors = [one for one in audit_test(test)["findings"] if one["level"] == "error"]
    assert [one["check"] for one in errors] == ["shared_noise_files"]


def test_a_preset_says_what_of_its_noise_is_not_there(place, tmp_path):
    options = {"noise_types": (), "snrs_db": (), "preset": "av_hubert", "seeds": (0,)}
    # Two talkers of ours cannot make babble of 30: the preset asks for it all the same.
    with pytest.raises(ValueError, match="babble_30 needs 30 recordings"):
        build(settings(place, **options), tmp_path / "a")
    # Music that no folder holds is never asked of the talkers.
    with pytest.raises(ValueError, match="no noise type chosen"):
        build(settings(place, **(options | {"preset": "auto_avsr"})), tmp_path / "n")
    chosen = options | {"noise_types": ("one_talker",)}
    test = build(settings(place, **chosen), tmp_path / "b")
    assert test.facts["preset_left_out"] == ["babble_30", "musan_music", "musan_noise"]
    assert test.facts["snrs_db"] == [-10.0, -5.0, 0.0, 5.0, 10.0]
    checks = {one["check"]: one["level"] for one in audit_test(test)["findings"]}
    assert checks["preset"] == "warning" and checks["ill_posed"] == "note"


def test_another_test_in_the_folder_and_changed_manifests_are_refused(place, built_test, tmp_path):
    with pytest.raises(ValueError, match="holds a test with another .*seeds.*; give another --out"):
        build(settings(place, seeds=(4,)), built_test)
    build(settings(place), built_test)  # the same again is no offence
    with pytest.raises(ValueError, match="holds no noisy test"):
        load(tmp_path)
    for name in ("test.json", "mixtures.jsonl"):
        (tmp_path / name).write_bytes((built_test / name).read_bytes())
    lines = (tmp_path / "mixtures.jsonl").read_text().splitlines()
    (tmp_path / "mixtures.jsonl").write_text("\n".join(lines[1:]) + "\n")
    with pytest.raises(ValueError, match=r"mixtures\.jsonl: hash .* it was changed"):
        load(tmp_path)
    facts = read_json(tmp_path / "test.json")
    (tmp_path / "test.json").write_text(json.dumps(facts | {"schema_version": 99}))
    with pytest.raises(ValueError, match="build the test again"):
        read_test_facts(tmp_path)


def test_a_limit_takes_the_same_utterances_again(place, tmp_path):
    options = {"limit": 2, "noise_types": ("hum",), "reverberations": ("none",), "seeds": (0,)}
    names = [
        [one[0] for one in build(settings(place, **options), tmp_path / str(n)).facts["utterances"]]
        for n in range(2)
    ]
    assert names[0] == names[1] and len(names[0]) == 2


# Scoring


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
