"""The benchmark of streaming, on a tiny corpus and an untrained causal network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.data.manifest import (
    SPLITS,
    FaceTemplates,
    PreparedUtterance,
    encode_utterance,
    save_prepared,
)
from avsr.files import read_json
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.text import Tokenizer, train_tokenizer
from avsr.training.recognizer import save_recognizer
from benchmarks import streaming_latency

TEXT = "bin blue at a one now"


def utterance(name: str, frames: int) -> dict:
    rng = np.random.default_rng(frames)
    return encode_utterance(
        PreparedUtterance(
            utterance_id=name,
            speaker_id="s1",
            text=TEXT,
            audio=rng.uniform(-0.3, 0.3, 640 * frames).astype(np.float32),
            mouth_crops=rng.integers(0, 256, (frames, 96, 96), dtype=np.uint8),
            lips=rng.normal(0, 10, (frames, 40, 3)).astype(np.float32),
            vertices=rng.normal(0, 10, (frames, 42, 3)).astype(np.float32),
            video_valid=np.ones(frames, bool),
            words=(),
            phones=(),
            num_frames=frames,
            num_samples=640 * frames,
            source="tests",
        )
    )


def make_run(folder: Path, *, causal: bool) -> Path:
    ring = np.arange(40, dtype=np.int32)
    faces = FaceTemplates(
        topology="tests",
        triangles=np.array([[0, 1, 2]], dtype=np.int32),
        regions={"lips_outer": ring[:20], "lips_inner": ring[20:]},
        templates={"s1": np.zeros((42, 3), np.float32)},
    )
    splits = {s: [utterance(f"{s}/{i}", 14 + i) for i in range(3)] for s in SPLITS}
    save_prepared(folder / "prepared", splits, faces, {"name": "tests"})
    words = Tokenizer(train_tokenizer([TEXT], 20))
    torch.manual_seed(0)
    config = RecognizerConfig(
        vocabulary_size=words.size,
        width=16,
        num_heads=2,
        fused_layers=1,
        video_channels=(8, 8),
        causal=causal,
    )
    for name in ("audio", "audio_visual"):
        (folder / name).mkdir()
        save_recognizer(folder / name / "best.safetensors", Recognizer(config), words, {})
    return folder


def test_without_a_run_it_says_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    streaming_latency.main(out=tmp_path)
    assert "--run" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_every_modality_and_chunk_is_measured(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", causal=True)
    streaming_latency.main(run, chunks=(4, 40), sentences=2, out=tmp_path / "results")
    report = read_json(tmp_path / "results" / "streaming.json")
    text = (tmp_path / "results" / "streaming.md").read_text(encoding="utf-8")
    seen = [(row["network"], row["modality"], row["chunk_frames"]) for row in report["rows"]]
    assert len(set(seen)) == len(seen) == 4 * 3
    assert report["sentences"] == 2 and report["left_out"] == {}
    by_chunk = {row["chunk_frames"]: row for row in report["rows"] if row["modality"] == "audio"}
    assert by_chunk[4]["algorithmic_latency_ms"] == 167.5
    assert by_chunk[4]["timed"] == 3 + 3  # whole chunks of 14 and 15 frames
    assert by_chunk[4]["compute_median_ms"] > 0
    # One chunk over everything, rest of the look-ahead included, is full attention.
    assert by_chunk[40]["errors"] == by_chunk[None]["errors"]
    assert by_chunk[40]["compute_median_ms"] is None
    assert "| audio | audio | 4 frames, 160 ms | 167.5 ms |" in text
    assert "| audio_visual | video | 4 frames, 160 ms | 240.0 ms |" in text


def test_networks_that_cannot_stream_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", causal=False)
    with pytest.raises(ValueError, match=r"run: has no causal network \(audio is not causal"):
        streaming_latency.main(run, out=tmp_path / "results")
