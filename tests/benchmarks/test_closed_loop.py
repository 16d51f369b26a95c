"""The page of the augmentation study says what its JSON says."""

from __future__ import annotations

from benchmarks.closed_loop import study_page


def test_the_page_is_made_from_the_json_alone():
    wer = {"value": 0.25, "low": 0.2, "high": 0.3}
    study = {
        "updates": 1200,
        "seed": 0,
        "commit": "0123456789",
        "test_utterances": 100,
        "train_utterances": {
            "generated_0": {"real": 700, "generated": 0},
            "generated_75": {"real": 170, "generated": 530},
            "real_25_alone": {"real": 170, "generated": 0},
        },
        "arms": {
            "generated_0": {"generated_share": 0.0, "real_alone": False, "wer": wer},
            "generated_75": {"generated_share": 0.75, "real_alone": False, "wer": wer},
            "real_25_alone": {"generated_share": 0.75, "real_alone": True, "wer": wer},
        },
        "differences": [
            {
                "arm": "generated_75",
                "minus": "real_25_alone",
                "kind": "against_its_real_part",
                "value": -0.1,
                "low": -0.15,
                "high": -0.05,
                "p_value": 0.0004,
            }
        ],
    }
    text = study_page(study)
    assert "| 75 % generated | 170 | 530 | 25.0 [20.0, 30.0] |" in text
    assert "| 25 % real, the rest left out | 170 | 0 | 25.0 [20.0, 30.0] |" in text
    m = "\u2212"
    row = f"| 75 % generated minus its real part alone | {m}10.0 [{m}15.0, {m}5.0] | < 0.001 |"
    assert row in text
    assert "one speaker" in text and "0123456" in text
