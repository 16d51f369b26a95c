"""What a student may be trained with: noise, styles, a pretrained encoder; and the baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.audio import log_mel
from avsr.data.noise_bank import NoiseConfig, NoiseSplit
from avsr.files import read_json, read_jsonl
from avsr.training.loop import TrainConfig
from learn2talk.animate import animate, displacement_of
from learn2talk.autoregressive_training import (
    AutoregressiveTrainConfig,
    roll_out_loss,
    train_autoregressive,
)
from learn2talk.data.hearing import HearingConfig, noise_mixer
from learn2talk.data.motion import MotionAugment, MotionClips, collate_motion
from learn2talk.data.motion_clip import in_16_bit
from learn2talk.data.styles import SpeakerStyles, StyleTraining
from learn2talk.evaluate import evaluate_student
from learn2talk.files import load_student
from learn2talk.models.autoregressive import AutoregressiveConfig, AutoregressiveStudent
from learn2talk.models.student import Student, StudentConfig
from learn2talk.models.sync_expert import SyncExpertConfig, SyncNet3D
from learn2talk.training import (
    StudentLoss,
    StudentTrainConfig,
    SyncTrainConfig,
    config_facts,
    train_student,
    train_sync_expert,
)
from tests.avsr.pretrained.conftest import save_checkpoint

FEW = TrainConfig(max_updates=2, warmup_updates=1, validate_every=2, max_frames=200)
SMALL = StudentConfig(width=16, layers=1, heads=2, feedforward=16)
PLAIN = StudentTrainConfig(model=SMALL, train=FEW, sync_weight=0.0)
BASELINE = AutoregressiveConfig(
    width=16, heads=2, feedforward=16, encoder_layers=1, encoder_feedforward=16
)
WHITE = NoiseConfig(Path("."), train=NoiseSplit(types=("white",)))
LOUD = HearingConfig(noise_snr_db=(-5.0, 0.0), noise_clean_share=0.0)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    save_checkpoint("wav2vec2", "layer", tmp_path / "encoder")
    return tmp_path / "encoder"


def test_noise_is_heard_and_nothing_else_changes(tiny_corpus: Path) -> None:
    augment = MotionAugment()
    plain = MotionClips(tiny_corpus, "train", augment=augment, seed=1)
    mix = noise_mixer(WHITE, LOUD)
    noisy = MotionClips(tiny_corpus, "train", augment=augment, seed=1, mix_noise=mix)
    for index in range(3):
        one, other = plain.example(index, 0), noisy.example(index, 0)
        assert one.heard is None and other.heard is not None and other.waveform is None
        for name in ("features", "lips", "neutral_lips", "displacement", "tracked"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.draw == other.draw
        assert other.heard.shape == other.features.shape
        assert np.abs(other.heard - other.features).mean() > 0.3
        again = noisy.example(index, 0).heard
        np.testing.assert_array_equal(other.heard, again)
        assert np.abs(other.heard - noisy.example(index, 1).heard[:1]).max() > 0
    batch = collate_motion([noisy.example(0, 0), noisy.example(1, 0)])
    assert batch.heard is not None and batch.student_features is batch.heard
    assert collate_motion([plain.example(0, 0)]).student_features.shape[0] == 1


def test_a_clean_share_of_one_is_the_clean_sound(tiny_corpus: Path) -> None:
    mix = noise_mixer(WHITE, HearingConfig(noise_clean_share=1.0))
    clips = MotionClips(tiny_corpus, "train", augment=MotionAugment(), mix_noise=mix)
    example = clips.example(0, 0)
    # 16 bits are kept of the sound: near everywhere above the floor of the features.
    assert np.abs(example.heard - example.features).mean() < 0.05
    assert clips.clips[0].waveform.dtype == np.int16


def test_the_snr_is_the_one_asked_for(tiny_corpus: Path) -> None:
    clip = MotionClips(tiny_corpus, "train", waveforms=True).clips[0]
    mix = noise_mixer(WHITE, HearingConfig(noise_snr_db=(3.0, 3.0), noise_clean_share=0.0))
    assert mix is not None
    noise = mix(clip.sound, np.random.default_rng(0)) - clip.sound
    snr_db = 10 * np.log10(np.square(clip.sound).mean() / np.square(noise).mean())
    assert snr_db == pytest.approx(3.0, abs=0.05)


def test_16_bit_samples_are_kept_exactly() -> None:
    samples = np.array([-1.0, -0.5, 0.0, 1 / 32768, 0.25, 1.0])
    kept = in_16_bit(samples)
    assert kept.tolist() == [-32768, -16384, 0, 1, 8192, 32767]


def test_the_expert_hears_clean_sound(tiny_corpus: Path) -> None:
    mix = noise_mixer(WHITE, LOUD)
    noisy = collate_motion([MotionClips(tiny_corpus, "train", mix_noise=mix).example(0, 0)])
    expert = SyncNet3D(SyncExpertConfig(width=16, embedding=8)).eval().requires_grad_(False)
    config = replace(PLAIN, vertex_weight=0.0, velocity_weight=0.0, sync_weight=1.0)
    loss = StudentLoss(config, np.arange(40), expert)
    heard = []
    expert.embed_audio = lambda features, own=expert.embed_audio: (
        heard.append(features)
        or own(  # type: ignore[method-assign]
            features
        )
    )
    loss(Student(replace(SMALL, dropout=0.0), 44), noisy)
    assert torch.equal(heard[0], noisy.features)


def test_without_noise_training_is_what_it_was(tiny_corpus: Path, tmp_path: Path) -> None:
    """`noise=None` twice gives the same numbers, and noise gives others."""
    losses = {}
    for name, noise in (("one", None), ("two", None), ("noisy", WHITE)):
        config = replace(PLAIN, hearing=LOUD)
        train_student(tiny_corpus, tmp_path / name, None, config, noise=noise, cpu=True)
        rows = read_jsonl(tmp_path / name / "metrics.jsonl")
        losses[name] = [row["loss"] for row in rows]
    assert losses["one"] == losses["two"] != losses["noisy"]
    assert read_json(tmp_path / "noisy" / "run.json")["noise_types"] == ["white"]
    assert "noise_types" not in read_json(tmp_path / "one" / "run.json")


def test_noise_that_cannot_be_used_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no type for training"):
        noise_mixer(NoiseConfig(tmp_path), HearingConfig())
    for wrong in ((0.0, -5.0), (0.0, float("nan")), (float("-inf"), 0.0)):
        with pytest.raises(ValueError, match="must ascend and be finite"):
            HearingConfig(noise_snr_db=wrong)
    with pytest.raises(ValueError, match="noise_clean_share 1.5"):
        HearingConfig(noise_clean_share=1.5)
    clips = MotionClips(tiny_corpus, "train", mix_noise=noise_mixer(WHITE, LOUD))
    silent = replace(clips.clips[0], waveform=np.zeros(32000, np.int16))
    clips.clips[0] = silent
    with pytest.raises(ValueError, match="utterance train0: .*silent"):
        clips.example(0, 0)
    with pytest.raises(ValueError, match="read without its waveform"):
        MotionClips(tiny_corpus, "valid").clips[0].student_features(None)


def test_a_student_goes_on_from_a_trained_one(tiny_corpus: Path, tmp_path: Path) -> None:
    """It starts with the very weights: a learning rate of 0 leaves them as they are."""
    train_student(tiny_corpus, tmp_path / "first", None, PLAIN)
    still = replace(PLAIN, train=replace(FEW, learning_rate=0.0, seed=5))
    train_student(tiny_corpus, tmp_path / "second", None, still, initial=tmp_path / "first")
    before, after = load_student(tmp_path / "first"), load_student(tmp_path / "second")
    for name, tensor in before.model.state_dict().items():
        torch.testing.assert_close(after.model.state_dict()[name], tensor)
    assert after.provenance["initial_sha256"] == before.provenance["student_sha256"]


def test_a_student_that_does_not_fit_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    train_student(tiny_corpus, tmp_path / "first", None, PLAIN)
    wider = replace(PLAIN, model=replace(SMALL, width=24))
    with pytest.raises(ValueError, match="first: was trained as .*width=16.*the same sizes"):
        train_student(tiny_corpus, tmp_path / "next", None, wider, initial=tmp_path / "first")
    with pytest.raises(ValueError, match="both .* to start from"):
        train_student(
            tiny_corpus, tmp_path / "n", None, PLAIN, ear=tmp_path, initial=tmp_path / "first"
        )


def test_styles_are_drawn_by_their_shares(tiny_corpus: Path) -> None:
    clips = MotionClips(tiny_corpus, "train").clips
    ids = [clip.utterance_id for clip in clips]
    speakers = [clip.speaker_id for clip in clips]
    styles = SpeakerStyles(clips, StyleTraining(True, average_share=0.2, clip_share=0.3))
    assert styles.names == ("s0", "s1")
    kinds = {"average": 0, "clip": 0, "own": 0}
    for draw in range(300):
        style = styles.drawn(ids, speakers, draw)
        for row, speaker in enumerate(speakers):
            weights, from_clip = style.speakers[row].tolist(), float(style.from_clip[row])
            if from_clip:
                assert weights == [0, 0]
                names, statistics = styles.clips[speaker]
                same = [torch.equal(s, style.statistics[row]) for s in statistics]
                assert names[same.index(True)] != ids[row]  # of the speaker, not itself
                kinds["clip"] += 1
            elif weights == [0.5, 0.5]:
                kinds["average"] += 1
            else:
                assert weights[styles.names.index(speaker)] == 1.0
                kinds["own"] += 1
    shares = {kind: count / (300 * len(ids)) for kind, count in kinds.items()}
    assert shares == pytest.approx({"average": 0.2, "clip": 0.3, "own": 0.5}, abs=0.04)
    assert all(
        torch.equal(a, b)
        for a, b in zip(styles.drawn(ids, speakers, 7), styles.drawn(ids, speakers, 7), strict=True)
    )
    mean, std = styles.normalisation()
    assert mean.shape == std.shape == (36,) and (std >= 0.05).all()


def test_speakers_who_cannot_have_a_style_are_named(tiny_corpus: Path) -> None:
    clips = MotionClips(tiny_corpus, "train").clips
    named = [replace(clip, speaker_id="average") for clip in clips[:2]]
    with pytest.raises(ValueError, match="a speaker is called 'average'"):
        SpeakerStyles(named, StyleTraining(True))
    lost = replace(clips[0], speaker_id="s9", tracked=np.zeros_like(clips[0].tracked))
    with pytest.raises(ValueError, match="speaker 's9' has no clip with two tracked frames"):
        SpeakerStyles([*clips, lost], StyleTraining(True))
    with pytest.raises(ValueError, match="at most 1 together"):
        StyleTraining(average_share=0.6, clip_share=0.6)


def test_a_student_with_styles(tiny_corpus: Path, tmp_path: Path) -> None:
    config = replace(PLAIN, styles=StyleTraining(per_speaker=True))
    train_student(tiny_corpus, tmp_path, None, config, cpu=True)
    trained = load_student(tmp_path)
    assert trained.style_names == ("s0", "s1") and trained.model.config.num_styles == 2
    assert trained.model.styles is not None
    assert trained.model.styles.statistics_std.std() > 0
    torch.nn.init.normal_(trained.model.styles.table)
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, 640 * 30).astype(np.float32)
    one, two = (displacement_of(trained, sound, style=name) for name in ("s0", "s1"))
    average = displacement_of(trained, sound, style="average")
    np.testing.assert_array_equal(average, displacement_of(trained, sound))
    clip = displacement_of(trained, sound, style=animate(sound, trained, style="s1"))
    assert min(np.abs(a - b).max() for a, b in ((one, two), (one, average), (clip, one))) > 1e-4


def test_a_student_behind_a_pretrained_encoder(
    tiny_corpus: Path, encoder: Path, tmp_path: Path
) -> None:
    hearing = HearingConfig(speech_encoder=str(encoder), noise_clean_share=0.5)
    expert, judge = tmp_path / "loss", tmp_path / "judge"
    for role, folder in (("loss", expert), ("judge", judge)):
        model = SyncExpertConfig(role=role, width=16, embedding=8)  # type: ignore[arg-type]
        train_sync_expert(tiny_corpus, folder, SyncTrainConfig(model=model, train=FEW), cpu=True)
    config = replace(PLAIN, hearing=hearing, sync_weight=0.1)
    run = tmp_path / "run"
    train_student(tiny_corpus, run, expert, config, noise=WHITE, cpu=True)
    trained = load_student(run)
    assert trained.model.config.num_mels is None
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, 640 * 30 - 7).astype(np.float32)
    assert animate(sound, trained).vertices.shape == (30, 46, 3)
    figures = evaluate_student(run, judge, tiny_corpus)
    assert figures["systems"]["student"]["mve_mm"]["value"] > 0
    with pytest.raises(ValueError, match="nowhere"):
        lost = replace(hearing, speech_encoder=str(tmp_path / "nowhere"))
        train_student(tiny_corpus, run, None, replace(PLAIN, hearing=lost), cpu=True)


def test_what_training_counts_itself_is_not_given() -> None:
    for model in (replace(SMALL, num_styles=2), replace(BASELINE, num_styles=2)):
        with pytest.raises(ValueError, match="set styles.per_speaker instead"):
            if isinstance(model, StudentConfig):
                StudentTrainConfig(model=model)
            else:
                AutoregressiveTrainConfig(model=model)


def test_facts_of_a_run_are_those_of_before_where_nothing_new_is_on() -> None:
    facts = config_facts(StudentTrainConfig(silence_share=0.0))
    assert not {"hearing", "styles"} & facts.keys()
    assert set(facts["model"]) == {
        *("num_mels", "width", "layers", "heads", "feedforward", "dropout"),
        *("look_back_frames", "look_ahead_frames"),
    }
    on = replace(PLAIN, styles=StyleTraining(per_speaker=True), hearing=LOUD)
    assert config_facts(on)["styles"]["per_speaker"] and config_facts(on)["hearing"]


def test_the_baseline_learns_resumes_and_is_used_like_a_student(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    train = replace(FEW, max_updates=4, validate_every=2, learning_rate=3e-3)
    config = AutoregressiveTrainConfig(
        model=BASELINE, train=train, styles=StyleTraining(per_speaker=True)
    )
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train_autoregressive(tiny_corpus, whole, config, cpu=True)
    first = replace(config, train=replace(train, max_updates=2))
    train_autoregressive(tiny_corpus, stopped, first, cpu=True)
    assert [row["update"] for row in read_jsonl(stopped / "metrics.jsonl")] == [1, 2]
    train_autoregressive(tiny_corpus, stopped, config, cpu=True)
    rows = [list(read_jsonl(folder / "metrics.jsonl")) for folder in (whole, stopped)]
    assert [row["update"] for row in rows[1]] == [1, 2, 3, 4]
    assert rows[0][-1]["loss"] < rows[0][0]["loss"]
    trained = load_student(whole)
    assert isinstance(trained.model, AutoregressiveStudent) and not trained.model.training
    assert read_json(whole / "student.json")["kind"] == "autoregressive"
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, 640 * 12).astype(np.float32)
    motion = animate(sound, trained, style="s1")
    assert motion.vertices.shape == (12, 46, 3)
    with torch.no_grad():
        alone = trained.model(log_mel(torch.from_numpy(sound)[None]))[0].numpy()
    np.testing.assert_allclose(displacement_of(trained, sound), alone, atol=1e-5)


def test_the_baselines_loss_is_the_squared_error(tiny_corpus: Path) -> None:
    batch = collate_motion(MotionClips(tiny_corpus, "train").clips[:2])
    fresh = AutoregressiveStudent(BASELINE, 44).eval()  # it starts at rest: all error is the motion
    loss = roll_out_loss(fresh, batch, None)
    squared = batch.displacement.square().sum(-1).mean(-1)[batch.tracked_mask].sum()
    assert float(loss.total.detach()) == pytest.approx(float(squared), rel=1e-5)
    assert loss.count == batch.num_targets == 48 + 50


def test_the_baseline_with_a_pretrained_encoder_and_noise(
    tiny_corpus: Path, encoder: Path, tmp_path: Path
) -> None:
    hearing = HearingConfig(speech_encoder=str(encoder))
    config = AutoregressiveTrainConfig(model=BASELINE, train=FEW, hearing=hearing)
    train_autoregressive(tiny_corpus, tmp_path / "run", config, noise=WHITE, cpu=True)
    trained = load_student(tmp_path / "run")
    assert isinstance(trained.model, AutoregressiveStudent)
    assert trained.model.config.num_mels is None
    assert animate(np.zeros(6400), trained).vertices.shape == (10, 46, 3)
