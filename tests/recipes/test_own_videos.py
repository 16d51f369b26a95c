"""The recipe of people with videos of their own, on stand-in films."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from avsr.data.noise_bank import NoiseConfig, NoiseSplit
from avsr.decode.config import DecodingConfig
from avsr.files import read_json, read_jsonl
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.text import Tokenizer, train_tokenizer
from avsr.training.recognizer import load_recognizer, save_recognizer
from learn2talk.closed_loop import ClosedLoopConfig
from learn2talk.presets import with_recognizer
from learn2talk.stages import Recipe, check_test_noises
from tests.avsr.corpora.stand_in import film
from tests.recipes.test_lrs3 import run

TEXTS = ("the quick brown fox", "jumps over a lazy dog", "pack my box with jugs")
SHORT = (
    "--processes 1 --landmarker-model none --preset audio_visual --loop.snrs-db -5 "
    "--loop.noise-seeds 0 --loop.decoding.beam-size 2"
).split() + [
    word
    for part in ("pretrain", "audio", "audio-visual")
    for word in (
        *(f"--loop.{part}.max-updates", "2", f"--loop.{part}.validate-every", "2"),
        *(f"--loop.{part}.warmup-updates", "1", f"--loop.{part}.batches-per-update", "2"),
        *(f"--loop.{part}.num-workers", "0"),
    )
]
SHAPE = RecognizerConfig(
    vocabulary_size=2, width=16, num_heads=2, fused_layers=1, kernel=7, video_channels=(8, 8, 8)
)


def recogniser(path: Path, **changes: object) -> Path:
    tokenizer = Tokenizer(train_tokenizer(TEXTS, 60))
    shape = replace(SHAPE, vocabulary_size=tokenizer.size, **changes)  # type: ignore[arg-type]
    save_recognizer(path, Recognizer(shape), tokenizer, {"valid_wer": "1.0"})
    return path


def videos(folder: Path, speakers: tuple[str, ...], splits: tuple[str, ...]) -> list[str]:
    """Films and their table; returns the recipe's words for them."""
    lines = ["file\ttext\tspeaker\tsplit"]
    for number, (speaker, split) in enumerate(zip(speakers, splits, strict=True)):
        film(folder / f"v{number}.mp4", [100 + number] * 60, period=7 + number)
        lines.append(f"v{number}.mp4\t{TEXTS[number % 3]}\t{speaker}\t{split}")
    table = folder / "videos.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["--root", str(folder), "--table", str(table)]


@pytest.mark.slow
def test_a_trained_recogniser_goes_on_from_own_videos(repository: Path, tmp_path: Path) -> None:
    start = recogniser(tmp_path / "start.safetensors", decoder_layers=1, transducer=True)
    splits = ("train",) * 3 + ("valid", "test", "test")
    words = videos(tmp_path / "videos", ("ann", "ann", "bob", "ann", "ann", "bob"), splits)
    words = ["recipes/own_videos/recipe.py", "all", *words, "--recognizer", str(start), *SHORT]
    done = run([*words, "--out", str(tmp_path / "run")], repository)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "no babble: 2 training speakers, it needs 3" in done.stdout
    assert done.stdout.count(f"starts from {start}: not taken: transducer") == 2  # both networks
    assert not (tmp_path / "run/pretrain").exists()
    results = read_json(tmp_path / "run/results.json")
    assert results["protocol"]["speaker_dependent"] is True
    assert "from " + str(start) in " ".join(results["protocol"]["notes"])
    arms = {
        (r["modality"], r["visual_source"]) for r in read_jsonl(tmp_path / "run/hypotheses.jsonl")
    }
    assert {("audio", "none"), ("audio_visual", "mouth_crops")} <= arms
    trained, words_of = load_recognizer(tmp_path / "run/audio_visual/best.safetensors")
    assert trained.config.decoder_layers == 1 and words_of.model == load_recognizer(start)[1].model


@pytest.mark.slow
def test_from_nothing_with_babble(repository: Path, tmp_path: Path) -> None:
    words = videos(tmp_path / "videos", tuple("abcdef"), ("train",) * 3 + ("valid", "test", "test"))
    shape = "--loop.model.width 16 --loop.model.num-heads 2 --loop.model.fused-layers 1"
    words = ["recipes/own_videos/recipe.py", "all", *words, *SHORT, *shape.split()]
    done = run([*words, "--out", str(tmp_path / "run")], repository)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run/pretrain/best.safetensors").is_file()
    assert len(list((tmp_path / "run/noise/talkers").iterdir())) == 3
    assert (tmp_path / "run/report.html").is_file()


def test_what_is_missing_is_named(repository: Path, tmp_path: Path) -> None:
    script = ["recipes/own_videos/recipe.py", "prepare", *SHORT, "--out", str(tmp_path / "run")]
    done = run(script, repository)
    assert done.returncode == 1 and "give their folder with --root and --table" in done.stderr
    words = videos(tmp_path / "videos", ("a", "b"), ("train", "train"))
    done = run([*script, *words], repository)
    assert done.returncode == 1 and "0 valid, 0 test utterances; there must be" in done.stderr
    assert "Traceback" not in done.stderr
    shutil.rmtree(tmp_path / "run")
    done = run([*script, *words, "--recognizer", str(tmp_path / "gone.safetensors")], repository)
    assert done.returncode == 1 and "gone.safetensors: no such weights file" in done.stderr


def test_a_test_noise_that_is_not_there_is_refused_before_training(tmp_path: Path) -> None:
    white = NoiseSplit(types=("white", "pink"))
    noise = NoiseConfig(root=tmp_path, train=white, valid=white, test=white)

    def recipe(*types: str) -> Recipe:
        loop = ClosedLoopConfig(noise_types=types)
        return Recipe(tmp_path, tmp_path, loop, 1, lambda: noise, lambda: None, lambda: None)

    check_test_noises(recipe("pink"))
    with pytest.raises(
        ValueError, match=r"\['babble_2'\] are not in the test split, which has white"
    ):
        check_test_noises(recipe("pink", "babble_2"))


def test_the_loop_takes_the_recognisers_shape(tmp_path: Path) -> None:
    loop = ClosedLoopConfig()
    assert with_recognizer(loop, None) is loop
    plain = with_recognizer(loop, str(recogniser(tmp_path / "plain.safetensors")))
    assert plain.model.width == 16 and plain.trained == ("audio_visual", "audio")
    assert plain.attention_weight == 0 and plain.decoding.method == "ctc"
    hybrid = str(recogniser(tmp_path / "hybrid.safetensors", decoder_layers=1, transducer=True))
    both = with_recognizer(loop, hybrid)
    assert both.attention_weight == 0.7 and both.decoding.method == "joint"
    assert not both.model.transducer
    greedy = replace(loop, decoding=DecodingConfig("greedy"))
    assert with_recognizer(greedy, hybrid).decoding.method == "greedy"
