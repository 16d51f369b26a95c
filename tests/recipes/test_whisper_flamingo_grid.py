"""The Whisper recipe on a made-up corpus, with a Whisper of chance, to its tables and again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avsr.data.manifest import encode_utterance, save_prepared
from avsr.files import read_json, read_jsonl
from tests.avsr.conftest import TEXTS, _utterance

TINY = (
    "--processes 1 --beam-size 2 --loop.noise-seeds 0 --loop.snrs-db -5 --loop.noise-types babble_4"
).split() + [
    word
    for part in ("audio", "audio-visual")
    for word in (f"--loop.{part}.max-updates", "2", f"--loop.{part}.validate-every", "2")
]


def run_recipe(repository: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    return subprocess.run(
        [sys.executable, "recipes/whisper_flamingo_grid/recipe.py", *words],
        cwd=repository,
        env={**environment, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=900,
    )


def make_grid_run(folder: Path) -> None:
    """What the recipe needs of a GRID run: a prepared corpus and a recogniser."""
    import torch

    from avsr.data.manifest import FaceTemplates
    from avsr.models.recognizer import Recognizer, RecognizerConfig
    from avsr.text import Tokenizer, train_tokenizer
    from avsr.training.recognizer import save_recognizer

    splits = {
        split: [
            encode_utterance(_utterance(f"{split}/{i}", 18 + 5 * i, TEXTS[i % 3], offset + i))
            for i in range(3)
        ]
        for offset, split in ((0, "train"), (10, "valid"), (20, "test"))
    }
    save_prepared(folder / "prepared", splits, FaceTemplates("tests", *_mesh()), {"name": "tests"})
    torch.manual_seed(0)
    tokenizer = Tokenizer(train_tokenizer(TEXTS, 40))
    config = RecognizerConfig(
        vocabulary_size=tokenizer.size,
        width=16,
        num_heads=2,
        fused_layers=1,
        video_channels=(8, 8, 8),
    )
    path = folder / "audio_visual" / "best.safetensors"
    save_recognizer(path, Recognizer(config), tokenizer, {"valid_wer": "1.0"})


def make_whisper(folder: Path, real: Path) -> Path:
    """A small Whisper of chance with the real one's vocabulary."""
    transformers = pytest.importorskip("transformers")
    config = transformers.WhisperConfig.from_pretrained(
        real,
        d_model=24,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
    )
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((real / "tokenizer.json").read_bytes())
    return folder


def _mesh() -> tuple:
    import numpy as np

    neutral = {name: np.zeros((42, 3), np.float32) for name in ("s0", "s1")}
    return np.array([[0, 1, 2]], np.int32), {"lips_outer": np.arange(20, dtype=np.int32)}, neutral


@pytest.mark.slow
@pytest.mark.real_data
def test_two_steps_to_the_tables_and_again(
    repository: Path, avsr_data: Path, tmp_path: Path
) -> None:
    make_grid_run(tmp_path / "grid")
    out = tmp_path / "run"
    words = ["all", "--out", str(out), "--grid", str(tmp_path / "grid"), "--data", str(avsr_data)]
    whisper = make_whisper(tmp_path / "whisper", avsr_data / "models" / "whisper-tiny.en")
    words += ["--whisper", str(whisper)]
    done = run_recipe(repository, *words, *TINY)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = list(read_jsonl(out / "hypotheses.jsonl"))
    assert len(rows) == 3 * 2 * 2  # utterances, systems, clean and one mixture
    assert {row["system"] for row in rows} == {"whisper_audio", "whisper_audio_visual"}
    results = read_json(out / "results.json")
    assert results["audit"] and {row["modality"] for row in results["rows"]} == {
        "audio",
        "audio_visual",
    }
    trained = read_json(out / "audio_visual" / "run.json")
    assert 0 < trained["trained_parameters"] < trained["parameters"]

    weights = [out / name / "best.safetensors" for name in ("audio", "audio_visual")]
    before = [path.stat().st_mtime_ns for path in weights]
    again = run_recipe(repository, *words, *TINY)
    assert again.returncode == 0, again.stderr[-3000:]
    assert [path.stat().st_mtime_ns for path in weights] == before
    assert list(read_jsonl(out / "hypotheses.jsonl")) == rows


def test_without_a_grid_run_it_says_so(repository: Path, tmp_path: Path) -> None:
    done = run_recipe(repository, "audio", "--grid", str(tmp_path), "--out", str(tmp_path / "run"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "no corpus.json" in done.stderr
