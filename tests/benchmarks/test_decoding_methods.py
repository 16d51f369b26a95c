"""The benchmark of ways to decode, on made-up memories and on a run without mixtures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avsr.files import write_jsonl
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.text import Tokenizer, train_tokenizer
from benchmarks import decoding_methods
from benchmarks.decoding_methods import Batch, measured, searches

TEXTS = ["bin blue at a one now", "set red by b two please"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(train_tokenizer(TEXTS, 30))


def network(tokenizer: Tokenizer, **heads: object) -> Recognizer:
    torch.manual_seed(0)
    config = RecognizerConfig(
        vocabulary_size=tokenizer.size,
        width=16,
        num_heads=2,
        fused_layers=1,
        video_channels=(8, 8),
        **heads,  # type: ignore[arg-type]
    )
    return Recognizer(config).eval()


def batches() -> list[Batch]:
    torch.manual_seed(1)
    memory = torch.randn(4, 20, 16)
    keys = [
        (f"u{k % 2}", *(("none", None, None) if k < 2 else ("pink", -5.0, 0))) for k in range(4)
    ]
    return [Batch(memory, torch.full((4,), 20), keys, TEXTS * 2, ["s", "t"] * 2)]


def test_every_search_that_the_network_has_heads_for(tokenizer: Tokenizer) -> None:
    ways = searches(3, 0.2)
    rows = measured(
        "audio",
        network(tokenizer, decoder_layers=1, transducer=True),
        tokenizer,
        batches(),
        ways,
        None,
        3,
    )
    seen = [(row["search"], row["noisy"]) for row in rows]
    assert len(set(seen)) == len(seen) == 2 * 5  # without a language model
    for row in rows:
        assert row["real_time_factor"] > 0 and row["wer"]["num_clusters"] == 2
    compared = [row["search"] for row in rows if row["against_ctc_beam"] is not None]
    assert "CTC beam 3" not in compared and "joint beam 3" in compared
    page = decoding_methods.page(
        {
            "rows": rows,
            "noise": "pink at -5 dB",
            "lm_weight": 0.2,
            "load": 1.0,
            "machine": {
                "cpu_count": 2,
                "processor": "made up",
                "versions": {"torch": "0"},
                "commit": "0" * 40,
                "command": "python benchmarks/decoding_methods.py",
            },
        }
    )
    assert page.count("| audio | ") == 5 and "p = " in page


def test_a_plain_network_is_only_read_by_ctc(tokenizer: Tokenizer) -> None:
    rows = measured("audio", network(tokenizer), tokenizer, batches(), searches(3, 0.2), None, 3)
    assert {row["search"] for row in rows} == {"CTC greedy", "CTC beam 3"}


def test_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decoding_methods.main(out=tmp_path)
    assert "--run" in capsys.readouterr().out
    monkeypatch.delenv("AVSR_DATA", raising=False)
    decoding_methods.main(run=tmp_path, out=tmp_path)
    assert "left out: AVSR_DATA" in capsys.readouterr().out
    write_jsonl(tmp_path / "mixtures.jsonl", [])
    with pytest.raises(ValueError, match=r"no mixture of babble_4 at -5\.0 dB"):
        decoding_methods.mixtures_of(tmp_path, "babble_4", -5.0)
