"""A noisy test from a list and folders: built, rendered, audited."""

from __future__ import annotations

import json

import numpy as np
import pytest

from avsr.files import read_audio, read_json, read_jsonl, sha256_file, write_wav
from avsr.noise import signal_power
from avsr.noisy_test import expected_of, load, protocol_of, read_test_facts
from avsr.noisy_test_audit import audit_test
from avsr.noisy_test_building import build
from avsr.noisy_test_files import render_test
from tests.avsr.made_up_noisy_test import TEXTS, settings


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
