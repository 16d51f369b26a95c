"""The closed loop's configuration, its mixtures and the names on its page."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.conditions import Arm
from avsr.data.manifest import decode_array, load_prepared
from avsr.data.mixtures import MixtureRow, build_mixture_manifest, render_mixture
from avsr.data.noise_bank import NoiseBank, NoiseConfig, NoiseSplit, TalkerFile
from avsr.decode.config import DecodingConfig
from avsr.evaluate import is_decoded
from avsr.files import read_json, read_jsonl, write_jsonl, write_video
from avsr.models.language_model import LanguageModelConfig
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.schema import VISUAL_SOURCES as ALL_SOURCES
from avsr.schema import Hypothesis
from avsr.training.loop import TrainConfig
from avsr.training.recognizer import is_trained, save_recognizer
from learn2talk import closed_loop, closed_loop_report
from learn2talk.closed_loop import (
    ROBUST,
    VISUAL_SOURCES,
    ClosedLoopConfig,
    GeneratedLips,
    ValidationMixtures,
    decode,
    make_tokenizer,
    mixture_manifest,
    train_motion,
    train_system,
    train_texts,
)
from learn2talk.closed_loop_report import (
    Condition,
    _files_of,
    _films,
    _mixtures,
    _noise_files,
    _transcripts,
)
from learn2talk.files import load_student
from learn2talk.models.student import StudentConfig
from learn2talk.models.sync_expert import SyncExpertConfig
from learn2talk.schema import Motion
from learn2talk.stages import stages_of
from learn2talk.training import StudentTrainConfig, SyncTrainConfig

from .conftest import tiny_template


@pytest.fixture
def noise(tmp_path: Path) -> NoiseConfig:
    white = NoiseSplit(types=("white", "pink"))
    return NoiseConfig(root=tmp_path, train=white, valid=white, test=white)


def test_every_visual_source_is_compared() -> None:
    assert set(VISUAL_SOURCES) == set(ALL_SOURCES) - {"none"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"snrs_db": (0.0, math.nan)}, "nan"),
        ({"snrs_db": (math.inf,)}, "inf"),
        ({"generated_lips_share": 1.5}, "generated_lips_share 1.5"),
        ({"generated_lips_share": -0.1}, "generated_lips_share -0.1"),
        ({"noisy_lips_share": 1.1}, "noisy_lips_share 1.1"),
        ({"attention_weight": 0.3}, "attention_weight 0.3 and model.decoder_layers 0"),
        (
            {"model": RecognizerConfig(vocabulary_size=2, decoder_layers=1)},
            "attention_weight 0.0 and model.decoder_layers 1",
        ),
        ({"transducer_weight": 0.3}, "transducer_weight 0.3 and model.transducer False"),
        (
            {"model": RecognizerConfig(vocabulary_size=2, transducer=True)},
            "transducer_weight 0.0 and model.transducer True",
        ),
    ],
)
def test_impossible_values_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClosedLoopConfig(**change)


def test_mixtures_are_built_once_and_read_again(
    tiny_corpus: Path, tmp_path: Path, noise: NoiseConfig
) -> None:
    rows, bank = load_prepared(tiny_corpus, "test"), NoiseBank(noise, "test")
    config = ClosedLoopConfig(noise_types=("white",), snrs_db=(-5.0, 0.0), noise_seeds=(0, 1))
    first = mixture_manifest(rows, bank, tmp_path, config)
    assert len(first.rows) == 3 * (1 + 2 * 2)  # clean once, each level twice
    assert {row.snr_db for row in first.rows} == {None, -5.0, 0.0}
    assert mixture_manifest(rows, bank, tmp_path, config) == first
    assert sum(1 for _ in read_jsonl(tmp_path / "mixtures.jsonl")) == len(first.rows)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.5, 50), (1.0, 100)])
def test_generated_lips_come_as_often_as_asked(
    share: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = np.ones((3, 40, 3), np.float32)
    monkeypatch.setattr(closed_loop, "load_student", lambda _: "student")
    monkeypatch.setattr(
        closed_loop, "generate_lips", lambda student, sounds: [made for _ in sounds]
    )
    choose = GeneratedLips(Path("student"), share, 0.0)
    tracked, rng = np.zeros((3, 40, 3), np.float32), np.random.default_rng(0)
    chosen = sum(choose(tracked, np.zeros(9), None, rng) is made for _ in range(100))
    assert abs(chosen - expected) <= (15 if 0 < share < 1 else 0)


def test_generated_lips_follow_the_sound_that_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closed_loop, "load_student", lambda _: "student")
    monkeypatch.setattr(closed_loop, "generate_lips", lambda _, sounds: [sounds[0].sum()])
    rng, tracked = np.random.default_rng(0), np.zeros((3, 40, 3), np.float32)
    clean, heard = np.full(7, 1.0), np.full(7, 1e6)
    every = GeneratedLips(Path("student"), 1.0, 1.0)
    assert every(tracked, clean, heard, rng) == 7e6
    assert every(tracked, clean, None, rng) == 7  # nothing is heard
    some = GeneratedLips(Path("student"), 1.0, 0.5)
    noisy = sum(some(tracked, clean, heard, rng) == 7e6 for _ in range(200))
    assert 70 < noisy < 130
    none = GeneratedLips(Path("student"), 1.0, 0.0)
    assert none(tracked, clean, heard, rng) == 7


def test_the_student_for_noise_makes_the_lips_of_noisy_sound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closed_loop, "load_student", lambda folder: folder.name)
    monkeypatch.setattr(closed_loop, "generate_lips", lambda student, sounds: [student])
    rng, tracked = np.random.default_rng(0), np.zeros((3, 40, 3), np.float32)
    lips = GeneratedLips(Path("plain"), 1.0, 1.0, Path("robust"))
    assert lips(tracked, np.zeros(7), np.ones(7), rng) == "robust"
    assert lips(tracked, np.zeros(7), None, rng) == "plain"


@pytest.mark.slow
def test_the_student_for_noise_goes_on_from_the_first(
    tiny_corpus: Path, tmp_path: Path, noise: NoiseConfig
) -> None:
    few = TrainConfig(max_updates=2, warmup_updates=1, validate_every=2, max_frames=200)
    config = ClosedLoopConfig(
        sync=SyncTrainConfig(model=SyncExpertConfig(width=16, embedding=8), train=few),
        student=StudentTrainConfig(
            model=StudentConfig(width=16, layers=1, heads=2, feedforward=16), train=few
        ),
        robust=True,
        robust_training=few,
    )
    with pytest.raises(ValueError, match="give the noise of the recipe"):
        train_motion(tiny_corpus, tmp_path, config)
    figures = train_motion(tiny_corpus, tmp_path, config, noise)
    first, robust = load_student(tmp_path / "student"), load_student(tmp_path / ROBUST)
    assert robust.provenance["initial_sha256"] == first.provenance["student_sha256"]
    assert robust.provenance["noise_types"] == ["white", "pink"]
    assert figures[ROBUST]["student_sha256"] == robust.provenance["student_sha256"]


def test_validation_mixtures_are_made_when_asked_for(tiny_corpus: Path, noise: NoiseConfig) -> None:
    rows, bank = load_prepared(tiny_corpus, "test"), NoiseBank(noise, "valid")
    mixtures = ValidationMixtures(rows, bank, -2.5)
    assert list(mixtures) == ["test0", "test1", "test2"] and len(mixtures) == 3
    for place, name in enumerate(mixtures):
        clean = decode_array(rows[place]["audio"])
        wanted = build_mixture_manifest(
            [(name, clean)], bank, noise_types=[bank.types[place % 2]], snrs_db=[-2.5], seeds=[0]
        )
        found = mixtures[name]
        np.testing.assert_array_equal(found, render_mixture(wanted.rows[0], clean, bank))
        np.testing.assert_array_equal(found, mixtures[name])
    held = [value for value in vars(mixtures).values() if isinstance(value, np.ndarray)]
    assert not held and all(isinstance(row, MixtureRow) for row in mixtures.mixtures.values())


def test_the_second_phase_wants_the_first(tmp_path: Path, noise: NoiseConfig) -> None:
    with pytest.raises(ValueError, match="pretrain: is not trained to its end; run stage pretrain"):
        train_system("audio_visual", tmp_path, tmp_path, noise, ClosedLoopConfig())


def test_a_pretrained_speech_encoder_takes_the_place_of_the_audio_encoder(tmp_path: Path) -> None:
    from avsr.models.recognizer import Recognizer
    from learn2talk.closed_loop import _network
    from tests.avsr.pretrained.conftest import save_checkpoint

    save_checkpoint("wav2vec2", "group", tmp_path)
    config = ClosedLoopConfig(speech_encoder=str(tmp_path), speech_encoder_trained=True)
    shape, weights = _network("pretrain", config)
    assert shape.num_mels is None and weights is not None
    encoder: Any = Recognizer(shape).encoders["audio"]
    encoder.backbone.load_state_dict(weights)
    assert encoder.config.trained and encoder.config.weighted_layers
    seen, none = _network("video", config)  # has no ear
    assert none is None and seen.speech_encoder is None and seen.num_mels == 80


def test_another_recogniser_is_refused(tmp_path: Path, noise: NoiseConfig) -> None:
    with pytest.raises(ValueError, match="recogniser 'smell' is not one of"):
        train_system("smell", tmp_path, tmp_path, noise, ClosedLoopConfig())


def test_a_language_model_is_trained_and_asked(
    tiny_corpus: Path, tmp_path: Path, noise: NoiseConfig
) -> None:
    further = tmp_path / "sentences.txt"
    further.write_text("b a\n\na b a\n", encoding="utf-8")
    settings = TrainConfig(max_updates=2, warmup_updates=1, validate_every=1, max_frames=100)
    config = ClosedLoopConfig(
        systems=("audio",),
        noise_types=("white",),
        snrs_db=(0.0,),
        noise_seeds=(0,),
        vocabulary_size=10,
        decoding=DecodingConfig("joint", 2, ctc_weight=1.0, lm_weight=0.5),
        language_model=LanguageModelConfig(2, width=16, num_heads=2, num_layers=1),
        language_model_training=settings,
        language_model_texts=further,
    )
    assert stages_of(config) == ("prepare", "audio", "language_model", "decode", "report")
    best = train_texts(tiny_corpus, tmp_path, config)
    assert best == tmp_path / "language_model" / "best.safetensors" and best.is_file()
    assert is_trained(best.parent, settings)
    rows = load_prepared(tiny_corpus, "test")
    tokenizer = make_tokenizer(load_prepared(tiny_corpus, "train"), 10)
    shape = RecognizerConfig(tokenizer.size, ("audio",), width=16, num_heads=2, fused_layers=1)
    (tmp_path / "audio").mkdir()
    save_recognizer(tmp_path / "audio/best.safetensors", Recognizer(shape), tokenizer, {})
    decode(tiny_corpus, tmp_path, noise, config)
    assert is_decoded(tmp_path / "hypotheses", rows)
    facts = read_json(tmp_path / "hypotheses.config.json")
    assert facts["decoding"]["lm_weight"] == 0.5 and len(facts["language_model_sha256"]) == 64
    plain = replace(config, decoding=DecodingConfig("ctc", 2))
    assert "language_model" not in stages_of(plain)


def test_training_noise_lists_its_files() -> None:
    talkers = (TalkerFile("b/2.wav", "b"), TalkerFile("a/1.wav", "a"))
    part = NoiseSplit(
        types=("white", "rain", "babble_2"), recorded=("noise/rain.flac",), talkers=talkers
    )
    assert _files_of(NoiseConfig(root=Path("."), train=part)) == {
        "white": (),
        "rain": ("noise/rain.flac",),
        "babble_2": ("a/1.wav", "b/2.wav"),
    }


def test_test_noise_lists_the_files_that_were_used(
    tiny_corpus: Path, tmp_path: Path, noise: NoiseConfig
) -> None:
    config = ClosedLoopConfig(noise_types=("white",), snrs_db=(0.0,), noise_seeds=(0,))
    rows: tuple[MixtureRow, ...] = mixture_manifest(
        load_prepared(tiny_corpus, "test"), NoiseBank(noise, "test"), tmp_path, config
    ).rows
    assert _noise_files(rows, ("white",)) == {"white": ()}


def test_transcripts_stand_under_the_sound_that_was_heard(tmp_path: Path) -> None:
    conditions: dict[str, Condition] = {
        "clean": ("none", None, None),
        "babble, 0 dB": ("babble", 0.0, 1),
    }
    arms = [Arm("av", "audio", "none"), Arm("a", "audio", "none")]
    arms += [Arm("av", "video", "mouth_crops"), Arm("av", "video", "mouth_crops", "occluded")]
    rows = [
        Hypothesis(
            *(name, "s1", arm.system, arm.modality, arm.visual_source, *condition),  # type: ignore[arg-type]
            "said",
            f"{arm.system} {condition[0]} {condition[2]}",
            video_condition=arm.video_condition,
        )
        for name in ("u1", "u2")
        for arm in arms
        for condition in (("none", None, None), ("babble", 0.0, 0), ("babble", 0.0, 1))
        if arm.modality == "audio" or condition[1] is None
    ]
    write_jsonl(tmp_path / "hypotheses.jsonl", (row.to_row() for row in rows))
    results = {"rows": [asdict(arm) for arm in arms]}
    said = _transcripts(tmp_path / "hypotheses.jsonl", results, {"u1"}, conditions)
    seen = {"V: real mouth crops": "av none None"}  # disturbed pictures have tables of their own
    assert said == {
        "u1": {
            "clean": {
                "A: audio only (av)": "av none None",
                "A: audio only (a)": "a none None",
                **seen,
            },
            "babble, 0 dB": {
                "A: audio only (av)": "av babble 1",
                "A: audio only (a)": "a babble 1",
                **seen,
            },
        }
    }


def test_a_level_that_was_not_mixed_is_named(tmp_path: Path) -> None:
    results = {"protocol": {"snrs_db": [0.0, 5.0]}}
    conditions: list[Condition] = [("none", None, None), ("babble", -5.0, 0)]
    with pytest.raises(ValueError, match=r"no mixture of babble at -5.0 dB.*\[0.0, 5.0\]"):
        _mixtures([], tmp_path / "hypotheses.jsonl", results, ["u1"], conditions)


def test_the_real_film_is_shown_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        closed_loop_report,
        "write_face_video",
        lambda path, motion, audio: path.write_bytes(b"generated"),
    )
    template = tiny_template()
    motion = Motion(np.repeat(template.vertices[None], 5, axis=0), 25.0, template)
    speech = np.full(3200, 1.5, np.float32)  # louder than full scale: scaled, not refused
    assert _films(None, motion, speech, tmp_path) == {
        "Generated from the clean audio": b"generated"
    }
    film = tmp_path / "film.mp4"
    write_video(film, (np.zeros((32, 32, 3), np.uint8) for _ in range(5)))
    films = _films(film, motion, speech, tmp_path)
    assert list(films) == ["Generated from the clean audio", "Real face"]
    assert b"ftyp" in films["Real face"][:16]
