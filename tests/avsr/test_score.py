from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.conditions import Arm
from avsr.schema import Hypothesis
from avsr.score import (
    Bootstrap,
    ExpectedUtterance,
    Protocol,
    Provenance,
    ScoringError,
    baselines,
    score,
)
from avsr.tables import CSV_FIELDS, csv_text, markdown, p_text, spread

PROVENANCE = Provenance("test", "0" * 40, "2026-01-01T00:00:00Z", "CPU", None, {}, None)
QUICK = Bootstrap(num_resamples=200)
PROTOCOL = Protocol(
    corpus="hand",
    split="test",
    synthetic=True,
    speaker_dependent=False,
    snrs_db=(-10.0, 0.0),
    seeds=(0, 1),
    test_noises={"babble": ("b.wav",)},
    training_noises={"white": ()},
)
UTTERANCES = [
    ExpectedUtterance("u1", "s1", "Lay red in C four again."),
    ExpectedUtterance("u2", "s1", "bin blue at f two now"),
    ExpectedUtterance("u3", "s2", "set green"),
]


def hypothesis(utterance: ExpectedUtterance, text: str, **changes: Any) -> Hypothesis:
    values: dict[str, Any] = {
        "utterance_id": utterance.utterance_id,
        "speaker_id": utterance.speaker_id,
        "system": "tiny",
        "modality": "audio",
        "visual_source": "none",
        "noise_type": "none",
        "snr_db": None,
        "seed": None,
        "reference": utterance.reference,
        "hypothesis": text,
    }
    return Hypothesis(**(values | changes))


def clean_rows() -> list[Hypothesis]:
    return [
        hypothesis(UTTERANCES[0], "lay red in c four again"),
        hypothesis(UTTERANCES[1], "bin blue by f now now please"),  # 2 substitutions, 1 insertion
        hypothesis(UTTERANCES[2], "green"),  # 1 deletion
    ]


def run(folder: Path, rows: list[Hypothesis], protocol: Protocol = PROTOCOL) -> dict[str, Any]:
    path = folder / "hypotheses.jsonl"
    path.write_text("".join(json.dumps(row.to_row()) + "\n" for row in rows))
    return score(
        path, expected=UTTERANCES, protocol=protocol, provenance=PROVENANCE, bootstrap=QUICK
    )


def noisy_rows(texts: dict[float, str], **changes: Any) -> list[Hypothesis]:
    """Every utterance at every level and seed: the reference, or the given text for u1."""
    return [
        hypothesis(
            one,
            texts[snr] if one.utterance_id == "u1" else one.reference,
            **({"noise_type": "babble", "snr_db": snr, "seed": seed} | changes),
        )
        for one in UTTERANCES
        for snr in texts
        for seed in PROTOCOL.seeds
    ]


def test_counts_and_rates_equal_those_made_by_hand(tmp_path):
    (row,) = run(tmp_path, clean_rows())["rows"]
    assert (row["substitutions"], row["insertions"], row["deletions"]) == (2, 1, 1)
    assert row["words"] == 6 + 6 + 2
    assert row["wer"] == pytest.approx(4 / 14)
    assert row["ser"] == pytest.approx(2 / 3)
    # at -> by, two -> now, " please" added, "set " missing; over 23 + 21 + 9 characters.
    assert row["cer"] == pytest.approx((2 + 3 + 7 + 4) / 53)
    assert row["coverage"] == 1 and row["scope"] == "pooled"
    assert row["wer_low"] <= row["wer"] <= row["wer_high"]


def test_a_missing_hypothesis_is_all_deletions_and_lowers_coverage(tmp_path):
    result = run(tmp_path, clean_rows()[:2])
    (row,) = result["rows"]
    assert row["deletions"] == 2 and row["num_scored"] == 2 and row["num_expected"] == 3
    assert row["wer"] == pytest.approx((3 + 2) / 14)
    assert not result["audit"]["passed"]
    assert [one["check"] for one in result["audit"]["findings"]].count("coverage") == 1
    assert "67% decoded" in markdown(result)


def test_a_missing_seed_counts_as_deletions_in_its_condition(tmp_path):
    rows = [one for one in noisy_rows({0.0: "lay red in c four again"}) if one.seed == 0]
    by_seed = {row["seed"]: row for row in run(tmp_path, rows)["rows"] if row["scope"] == "seed"}
    assert by_seed[0]["wer"] == 0
    assert by_seed[1]["wer"] == 1 and by_seed[1]["coverage"] == 0


def test_a_condition_never_decoded_has_no_row_but_a_finding(tmp_path):
    result = run(tmp_path, noisy_rows({0.0: "lay red in c four again"}))
    assert {row["snr_db"] for row in result["rows"]} == {0.0}
    missing = [one for one in result["audit"]["findings"] if one["check"] == "missing_conditions"]
    assert "babble -10 dB" in missing[0]["message"] and "clean" in missing[0]["message"]
    assert result["summaries"][0]["n_wer"]["value"] is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"utterance_id": "u9"}, "u9 is not one of the 3"),
        ({"speaker_id": "s2"}, "speaker 's2'"),
        ({"reference": "lay red in c for again"}, "round trip"),
        ({"snr_db": 0.0}, "clean is 'none'"),
        ({"noise_type": "babble", "snr_db": 0.0, "seed": 7}, "outside the protocol"),
        ({"noise_type": "music", "snr_db": 0.0, "seed": 0}, "outside the protocol"),
        ({"noise_type": "babble", "snr_db": 0.5, "seed": 0}, "outside the protocol"),
    ],
)
def test_a_row_outside_the_test_is_refused_by_name(tmp_path, change, says):
    rows = [*clean_rows()[1:], replace(clean_rows()[0], **change)]
    with pytest.raises(ScoringError, match=says) as caught:
        run(tmp_path, rows)
    assert "row 3" in str(caught.value)


def test_a_repeated_utterance_is_refused_by_name(tmp_path):
    with pytest.raises(ScoringError, match="row 4: utterance u2 is there twice"):
        run(tmp_path, [*clean_rows(), clean_rows()[1]])


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(ScoringError, match="holds no hypothesis"):
        run(tmp_path, [])


def test_zero_db_is_a_level_and_not_clean(tmp_path):
    rows = clean_rows() + noisy_rows({0.0: "x", -10.0: "x y"})
    result = run(tmp_path, rows)
    pooled = [row for row in result["rows"] if row["scope"] == "pooled"]
    assert [row["snr_db"] for row in pooled] == [-10.0, 0.0, None]
    assert [row["num_expected"] for row in pooled] == [6, 6, 3]


def test_the_order_of_rows_changes_nothing(tmp_path):
    rows = clean_rows() + noisy_rows({0.0: "x", -10.0: "x y"})
    rows += noisy_rows(
        {0.0: "lay red", -10.0: "x"}, modality="audio_visual", visual_source="mouth_crops"
    )
    first = run(tmp_path, rows)
    random.Random(3).shuffle(rows)
    second = run(tmp_path, rows)
    for result in (first, second):
        del result["provenance"]["hypotheses_sha256"]
    assert first == second


def test_audio_visual_is_compared_with_audio_on_the_same_mixtures(tmp_path):
    audio = noisy_rows({0.0: "lay", -10.0: "x"})
    fused = noisy_rows(
        {0.0: "lay red in c four again", -10.0: "lay red in"},
        modality="audio_visual",
        visual_source="mouth_crops",
    )
    result = run(tmp_path, audio + fused)
    low, high = sorted(result["comparisons"], key=lambda one: one["snr_db"])
    assert low["baseline"]["modality"] == "audio"
    assert low["difference"] == pytest.approx((3 - 6) / 14)
    assert high["difference"] == pytest.approx((0 - 5) / 14)
    assert low["num_mixtures"] == 6 and 0 < low["p_value"] <= 1
    summary = result["summaries"][1]
    assert summary["errors_recovered"]["value"] == pytest.approx(0.5)
    assert summary["n_wer"]["value"] == pytest.approx((3 + 0) / 14 / 2)
    assert summary["clean_difference"]["value"] is None


def test_summaries_hold_n_wer_gain_and_clean_cost(tmp_path):
    audio = clean_rows() + noisy_rows({0.0: "lay red in", -10.0: "x"})
    fused = noisy_rows({0.0: "lay red in c four again", -10.0: "lay red in"})
    fused += [hypothesis(one, one.reference) for one in UTTERANCES]
    fused = [replace(one, modality="audio_visual", visual_source="tracked_lips") for one in fused]
    plain, seen = run(tmp_path, audio + fused)["summaries"]
    assert plain["baseline"] is None and seen["baseline"]["modality"] == "audio"
    # Audio falls from 6 to 3 errors, fused from 3 to 0: 3 errors are met at 0 dB and at -10 dB.
    assert seen["snr_gain_db"]["value"] == pytest.approx(10.0)
    assert seen["snr_gain_db"]["at_wer"] == pytest.approx(3 / 14)
    assert seen["clean_difference"]["value"] == pytest.approx(-4 / 14)


def test_every_audio_arm_is_a_baseline_and_the_summary_takes_the_strongest(tmp_path):
    weak = noisy_rows({0.0: "x", -10.0: "x"}, system="audio")
    strong = noisy_rows({0.0: "lay red in", -10.0: "x"})
    fused = noisy_rows(
        {0.0: "lay red in c four", -10.0: "lay"},
        modality="audio_visual",
        visual_source="mouth_crops",
    )
    result = run(tmp_path, weak + strong + fused)
    assert {one["baseline"]["system"] for one in result["comparisons"]} == {"audio", "tiny"}
    (summary,) = [one for one in result["summaries"] if one["modality"] == "audio_visual"]
    assert summary["baseline"]["system"] == "tiny"


def test_generated_faces_are_also_held_against_the_controls():
    arms = [
        Arm("audio", "audio", "none"),
        Arm("fused", "audio_visual", "generated_from_noisy"),
        Arm("fused", "audio_visual", "still"),
        Arm("other", "audio_visual", "still"),
    ]
    assert baselines(arms[1], arms) == [
        ("audio_visual_vs_audio", arms[0]),
        ("generated_vs_control", arms[2]),
    ]
    assert baselines(arms[0], arms) == []


def decoded_at(levels: dict[float, Any], rng: np.random.Generator) -> tuple[Any, Any]:
    """40 utterances of 6 words, 3 seeds; each level's value draws the SNR really used."""
    utterances = [ExpectedUtterance(f"v{i:02d}", "s1", "a b c d e f") for i in range(40)]
    rows = []
    for one in utterances:
        for snr, draw in levels.items():
            for seed in range(3):
                error_rate = 1 / (1 + np.exp(draw() / 2))
                text = " ".join("z" if rng.random() < error_rate else w for w in "abcdef")
                rows.append(hypothesis(one, text, noise_type="babble", snr_db=snr, seed=seed))
    return utterances, rows


@pytest.mark.parametrize("bug", [False, True])
def test_the_audit_gives_the_zero_db_bug_away(tmp_path, bug):
    rng = np.random.default_rng(5)
    snrs = (-5.0, -2.5, 0.0, 2.5, 5.0)
    levels: dict[float, Any] = {snr: (lambda snr=snr: snr) for snr in snrs}
    if bug:  # `snr if snr else random`
        levels[0.0] = lambda: rng.choice([-10.0, 10.0])
    utterances, rows = decoded_at(levels, rng)
    path = tmp_path / "hypotheses.jsonl"
    path.write_text("".join(json.dumps(row.to_row()) + "\n" for row in rows))
    protocol = replace(PROTOCOL, snrs_db=snrs, seeds=(0, 1, 2))
    found = score(
        path, expected=utterances, protocol=protocol, provenance=PROVENANCE, bootstrap=QUICK
    )["audit"]["findings"]
    checks = {one["check"]: one["message"] for one in found if one["level"] == "error"}
    assert set(checks) == ({"dispersion"} if bug else set())
    if bug:
        assert "at 0 dB" in checks["dispersion"]


def test_the_audit_finds_a_rising_curve_and_noise_that_never_arrived(tmp_path):
    rng = np.random.default_rng(6)
    utterances, rows = decoded_at({-10.0: lambda: 5.0, 0.0: lambda: -5.0}, rng)
    path = tmp_path / "hypotheses.jsonl"

    def errors_of(rows: list[Hypothesis]) -> set[str]:
        path.write_text("".join(json.dumps(row.to_row()) + "\n" for row in rows))
        protocol = replace(PROTOCOL, seeds=(0, 1, 2))
        result = score(
            path, expected=utterances, protocol=protocol, provenance=PROVENANCE, bootstrap=QUICK
        )
        return {one["check"] for one in result["audit"]["findings"] if one["level"] == "error"}

    assert errors_of(rows) == {"monotone"}
    assert errors_of([replace(one, hypothesis="a b") for one in rows]) == {"flat"}


def test_shared_noise_files_and_matched_types_are_flagged(tmp_path):
    protocol = replace(PROTOCOL, training_noises={"babble": ("b.wav", "c.wav")})
    result = run(tmp_path, clean_rows(), protocol)
    assert result["protocol"]["matched_noise"] == {"babble": True}
    assert result["protocol"]["shared_noise_files"] == ["b.wav"]
    assert not result["audit"]["passed"]


def test_the_protocol_refuses_what_cannot_be():
    for change in (
        {"snrs_db": (0.0, 0.0)},
        {"snrs_db": (float("nan"),)},
        {"seeds": (1, 1)},
        {"test_noises": {"none": ()}},
    ):
        with pytest.raises(ValueError, match="protocol hand"):
            replace(PROTOCOL, **change)


def test_results_are_json_and_tables_hold_their_numbers(tmp_path):
    result = run(tmp_path, clean_rows())
    assert json.loads(json.dumps(result, allow_nan=False))["schema_version"] == 2
    assert "28.6" in markdown(result)
    head, first, *_ = csv_text(result).splitlines()
    assert head.split(",") == list(CSV_FIELDS)
    assert first.startswith("tiny,audio,none,clean,none,none,,pooled,,2,1,1,14,3,3,1.0,0.2857")


def test_numbers_are_written_as_readers_expect():
    assert spread({"value": -0.0004, "low": None, "high": 0.1}, 100, signed=True) == (
        "+0.0 [\u2212\u221e, +10.0]"
    )
    assert p_text(2 / 2001, 2000) == "< 0.001"
    assert p_text(0.5, 2000) == "0.500"


def test_disturbed_pictures_and_rooms_are_arms_of_their_own():
    clean = Arm("fused", "audio_visual", "mouth_crops")
    frozen = replace(clean, video_condition="frozen")
    dry, wet = Arm("ear", "audio", "none"), Arm("ear", "audio", "none", reverberation="rt60_0.6")
    arms = [dry, wet, clean, frozen]
    assert baselines(frozen, arms) == [
        ("audio_visual_vs_audio", dry),
        ("disturbed_vs_undisturbed", clean),
    ]
    assert baselines(wet, arms) == [("disturbed_vs_undisturbed", dry)]
    assert sorted(arms, key=lambda arm: arm.order) == arms


def test_systems_given_the_same_are_compared_once():
    arms = [Arm("a", "audio", "none"), Arm("b", "audio", "none")]
    assert baselines(arms[0], arms) == [("system_vs_system", arms[1])]
    assert baselines(arms[1], arms) == []


def test_the_errors_of_every_mixture_are_kept_in_order(tmp_path):
    rows = noisy_rows({0.0: "lay red in c four", -10.0: ""})
    result = run(tmp_path, rows)
    assert result["protocol"]["utterances"] == [["u1", "s1", 6], ["u2", "s1", 6], ["u3", "s2", 2]]
    by_level = {row["snr_db"]: row for row in result["rows"] if row["scope"] == "pooled"}
    # u1 with seeds 0 and 1, then u2, then u3.
    assert by_level[0.0]["errors"] == "1 1 0 0 0 0"
    assert by_level[-10.0]["errors"] == "6 6 0 0 0 0"


def test_conditions_outside_the_protocol_are_refused(tmp_path):
    wet = [replace(one, reverberation="hall") for one in clean_rows()]
    with pytest.raises(ScoringError, match=r"row 1: utterance u1 .* room 'hall' is outside"):
        run(tmp_path, wet)
    with pytest.raises(ValueError, match="sees nothing"):
        replace(clean_rows()[0], video_condition="frozen")
    frozen = {"modality": "video", "visual_source": "mouth_crops", "video_condition": "frozen"}
    with pytest.raises(ScoringError, match="video 'frozen'"):
        run(tmp_path, [replace(clean_rows()[0], **frozen)])
    inside = replace(
        PROTOCOL, video_conditions=("clean", "frozen"), reverberations=("none", "hall")
    )
    rows = run(tmp_path, [replace(one, **frozen) for one in clean_rows()] + wet, inside)["rows"]
    assert {(row["video_condition"], row["reverberation"]) for row in rows} == {
        ("frozen", "none"),
        ("clean", "hall"),
    }


def test_rows_from_before_the_conditions_were_clean_and_dry():
    row = clean_rows()[0].to_row()
    del row["video_condition"], row["reverberation"]
    assert Hypothesis.from_row(row) == clean_rows()[0]


def test_the_audit_tells_a_disturbed_arm_from_its_undisturbed_one(tmp_path):
    rows = [
        replace(one, modality="audio_visual", visual_source="mouth_crops", **disturbance)
        for disturbance in ({}, {"video_condition": "occluded", "reverberation": "big"})
        for one in clean_rows()
    ]
    protocol = replace(
        PROTOCOL, video_conditions=("clean", "occluded"), reverberations=("none", "big")
    )
    findings = run(tmp_path, rows[:-1], protocol)["audit"]["findings"]
    (where,) = [one["where"] for one in findings if one["check"] == "coverage"]
    assert where == "tiny (audio_visual, mouth_crops, occluded, room big), clean"
