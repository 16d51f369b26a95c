"""Both benchmarks at once: every visual source decoded, the same faces read, one page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from avsr.data.manifest import load_prepared
from avsr.files import read_json, read_jsonl
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.noisy_test_building import NoisyTestConfig, build
from avsr.training.loop import TrainConfig
from avsr.training.recognizer import save_recognizer
from learn2talk import closed_loop_benchmark
from learn2talk.closed_loop import VISUAL_SOURCES, make_tokenizer
from learn2talk.closed_loop_benchmark import ClosedLoopBenchmark, run_closed_loop
from learn2talk.face_benchmark.inputs import files_of, read_system, read_texts
from learn2talk.face_benchmark.run import FaceBenchmark
from learn2talk.models.student import StudentConfig
from learn2talk.training import StudentTrainConfig, train_student

# The tiny corpus has one sentence: nothing can be mismatched.
SOURCES = tuple(name for name in VISUAL_SOURCES if name != "generated_from_other")
FEW = TrainConfig(max_updates=2, warmup_updates=1, validate_every=2, max_frames=200)


@pytest.fixture(scope="module")
def place(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A noisy test, a recogniser that was never trained, and a student that hardly was."""
    folder = tmp_path_factory.mktemp("loop")
    config = NoisyTestConfig(
        corpus=tiny_corpus,
        name="tiny",
        noise_types=("white",),
        snrs_db=(-5.0, 0.0),
        seeds=(0,),
        reverberations=("none", "rt60_0.3"),
    )
    build(config, folder / "test")
    tokenizer = make_tokenizer(load_prepared(tiny_corpus, "train"), 10)
    shape = RecognizerConfig(
        vocabulary_size=tokenizer.size, width=16, num_heads=2, fused_layers=1, video_channels=(8, 8)
    )
    save_recognizer(folder / "best.safetensors", Recognizer(shape), tokenizer, {})
    model = StudentConfig(width=16, layers=1, heads=2, feedforward=16)
    settings = StudentTrainConfig(model=model, train=FEW, sync_weight=0.0)
    train_student(tiny_corpus, folder / "student", None, settings)
    return folder


def asked(place: Path, out: Path, **changes: Any) -> ClosedLoopBenchmark:
    told = ClosedLoopBenchmark(
        test=place / "test",
        recognizer=place / "best.safetensors",
        audio_recognizer=place / "best.safetensors",
        student=place / "student",
        out=out,
        visual_sources=SOURCES,
        samples=1,
        resamples=50,
        notes=("a note",),
        synthetic=True,
        speaker_dependent=True,
        readability=False,
    )
    return replace(told, **changes)


@pytest.mark.slow
def test_every_source_is_decoded_in_every_condition_and_shown(place: Path, tmp_path: Path) -> None:
    written = run_closed_loop(asked(place, tmp_path))
    results = read_json(tmp_path / "results.json")
    sources = {row["visual_source"] for row in results["rows"]}
    assert sources == {"none", *SOURCES}
    assert {row["reverberation"] for row in results["rows"]} == {"none", "rt60_0.3"}
    assert {one["kind"] for one in results["comparisons"]} >= {
        "audio_visual_vs_audio",
        "generated_vs_control",
    }
    page = written["report"].read_text()
    assert "a note" in page and "Synthetic" in page and "video/mp4" in page
    before = list(read_jsonl(tmp_path / "decoding" / "hypotheses.jsonl"))
    run_closed_loop(asked(place, tmp_path))  # goes on: nothing is decoded twice
    assert list(read_jsonl(tmp_path / "decoding" / "hypotheses.jsonl")) == before
    with pytest.raises(ValueError, match="come from another visual_sources"):
        run_closed_loop(asked(place, tmp_path, visual_sources=("still",)))


@pytest.mark.slow
def test_the_same_faces_go_to_the_face_benchmark(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[FaceBenchmark] = []
    monkeypatch.setattr(closed_loop_benchmark, "benchmark_faces", lambda one: given.append(one))
    options = {
        "readability": True,
        "lip_readers": (place / "best.safetensors",),
        "bundled_reader": False,
        "judge": place / "judge",
        "visual_sources": ("generated_from_clean",),
        "samples": 0,
    }
    run_closed_loop(asked(place, tmp_path, **options))
    (one,) = given
    assert one.lip_readers == (place / "best.safetensors",) and not one.bundled_reader
    assert one.judge == place / "judge" and one.out == tmp_path / "readability"
    assert len(read_texts(one.text)) == 3
    names = set(files_of(one.audio, (".wav",), "sounds"))
    assert one.truth is not None
    for folder in (*one.motions, one.truth):
        assert set(read_system(folder, "motion", folder.name).files) == names
    assert len(list(one.phones.iterdir())) == 3 if one.phones else False


def test_sources_that_there_are_not_are_refused(tmp_path: Path) -> None:
    for sources in (("none",), ()):
        with pytest.raises(ValueError, match="choose from mouth_crops"):
            ClosedLoopBenchmark(tmp_path, tmp_path, tmp_path, visual_sources=sources)
