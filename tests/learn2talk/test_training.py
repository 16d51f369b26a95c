from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.files import read_json, sha256_file
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.text import Tokenizer, train_tokenizer
from avsr.training.loop import TrainConfig
from avsr.training.recognizer import save_recognizer
from learn2talk.data.motion import (
    MotionAugment,
    MotionClips,
    changed,
    collate_motion,
    half_of,
    longest_run,
)
from learn2talk.evaluate import (
    MEASURES,
    evaluate_student,
    evaluate_sync_expert,
    shifted_in_time,
)
from learn2talk.files import load_student, load_sync_expert, save_sync_expert
from learn2talk.lip_reading import LipReading
from learn2talk.losses import sync_loss, velocity_loss, vertex_loss
from learn2talk.models.lip_reader import LipReadNet
from learn2talk.models.student import Student, StudentConfig
from learn2talk.models.sync_expert import SyncExpertConfig, SyncNet3D
from learn2talk.training import (
    StudentLoss,
    StudentTrainConfig,
    SyncTrainConfig,
    sync_batch_loss,
    train_student,
    train_sync_expert,
)

FEW = TrainConfig(max_updates=3, warmup_updates=1, validate_every=2, max_frames=400)
SMALL = StudentConfig(width=16, layers=1, heads=2, feedforward=16)


def small_expert(role: str) -> SyncExpertConfig:
    return SyncExpertConfig(role=role, width=16, embedding=8)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def experts(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experts")
    for role in ("loss", "judge"):
        config = SyncTrainConfig(model=small_expert(role), train=FEW)
        train_sync_expert(tiny_corpus, folder / role, config, cpu=True)
    return folder


@pytest.fixture(scope="module")
def student(tiny_corpus: Path, experts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    config = StudentTrainConfig(model=SMALL, train=FEW)
    train_student(tiny_corpus, folder, experts / "loss", config, cpu=True)
    return folder


def test_clips_hold_what_the_corpus_holds(tiny_corpus: Path) -> None:
    clips = MotionClips(tiny_corpus, "train")
    assert len(clips) == 6 and clips.num_frames == [50, 52, 54, 56, 58, 60]
    clip = clips.clips[1]
    assert clip.features.shape == (4 * 52, 80) and clip.displacement.shape == (52, 44, 3)
    assert clip.tracked.sum() == 50 and clip.words[0] == ("a", 0.2, 0.8)
    lips = clip.neutral_lips + clip.displacement[:, :40]
    np.testing.assert_allclose(lips, clip.lips, atol=0.01)
    halves = [half_of(c.utterance_id) for c in clips.clips]
    first = MotionClips(tiny_corpus, "train", part="first")
    second = MotionClips(tiny_corpus, "train", part="second")
    assert len(first) == halves.count("first") and len(first) + len(second) == 6


def test_clips_without_a_tracked_window_are_listed(tiny_corpus: Path) -> None:
    clips = MotionClips(tiny_corpus, "train", window_frames=51)
    assert [name for name, _ in clips.excluded] == ["train0", "train1"]
    assert clips.excluded[0][1] == "no 51 tracked frames in a row" or len(clips) == 4
    with pytest.raises(ValueError, match="no usable clip, 6 excluded"):
        MotionClips(tiny_corpus, "train", window_frames=99)
    assert longest_run(np.array([True, False, True, True])) == 2
    assert longest_run(np.zeros(3, dtype=bool)) == 0


def test_augmentation_repeats_and_moves_sound_and_lips_together(tiny_corpus: Path) -> None:
    clips = MotionClips(tiny_corpus, "train", augment=MotionAugment(lip_noise_mm=0), seed=3)
    once, again, later = clips.example(0, 0), clips.example(0, 0), clips.example(0, 1)
    np.testing.assert_array_equal(once.features, again.features)
    assert once.draw == again.draw != later.draw
    assert len(once.features) == 4 * len(once.lips) == 4 * len(once.displacement)
    untouched = changed(clips.clips[0], None, np.random.default_rng(0), 7)
    assert untouched.draw == 7 and untouched.features is not None
    np.testing.assert_array_equal(untouched.lips, clips.clips[0].lips)
    louder = changed(
        clips.clips[0],
        MotionAugment(stretch=0, gain_db=6, lip_noise_mm=0, flip=False),
        np.random.default_rng(1),
        0,
    )
    # The last frame is left out: stretching holds its last features still.
    gain = (louder.features - clips.clips[0].features)[:-4]
    assert gain.std() < 1e-4 and 0 < abs(gain.mean()) < 6 * np.log(10) / 10 + 1e-4
    with pytest.raises(ValueError, match="stretch"):
        MotionAugment(stretch=1.0)


def test_lip_noise_and_mirror_are_for_the_sync_expert_only(tiny_corpus: Path) -> None:
    clip = MotionClips(tiny_corpus, "train").clips[0]
    noisy = MotionAugment(stretch=0, gain_db=0, lip_noise_mm=1.0, flip=True)
    other = changed(clip, noisy, np.random.default_rng(0), 0)
    assert np.abs(other.lips - clip.lips).max() > 0.5
    np.testing.assert_allclose(other.displacement, clip.displacement, atol=1e-5)


def test_batch_counts_tracked_targets_only(tiny_corpus: Path) -> None:
    clips = MotionClips(tiny_corpus, "train").clips[:2]
    batch = collate_motion(clips)
    assert batch.num_targets == 48 + 50
    assert batch.valid_mask.sum() == 102 and batch.features.shape == (2, 208, 80)
    windows = collate_motion(clips, window_frames=5)
    assert windows.num_targets == 44 + 46
    expert = SyncNet3D(small_expert("loss"))
    loss = sync_batch_loss(expert, windows, SyncTrainConfig(model=expert.config))
    assert loss.count == windows.num_targets
    moved = windows.to(torch.device("cpu"))
    assert moved.utterance_ids == ("train0", "train1")


def test_balanced_losses_push_a_student_by_their_shares(tiny_corpus: Path) -> None:
    batch = collate_motion(MotionClips(tiny_corpus, "train").clips[:2])
    expert = SyncNet3D(small_expert("loss")).eval().requires_grad_(False)
    torch.manual_seed(0)
    model = Student(replace(SMALL, dropout=0.0), 44)
    lips = np.arange(40)

    def pushed(balance: str, share: float) -> torch.Tensor:
        config = StudentTrainConfig(sync_weight=share, balance=balance)  # type: ignore[arg-type]
        model.zero_grad()
        loss = StudentLoss(config, lips, expert)(model, batch)
        loss.total.backward()
        assert model.vertices.bias.grad is not None
        return model.vertices.bias.grad.clone()

    alone = pushed("fixed", 0.0)
    assert torch.equal(pushed("gradient_norm", 0.0), alone)
    by_share = [pushed("gradient_norm", share) - alone for share in (0.5, 1.0)]
    torch.testing.assert_close(2 * by_share[0], by_share[1], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(pushed("fixed", 0.5) - alone, by_share[0], rtol=0.1)
    with pytest.raises(ValueError, match="balance 'even' is not one of fixed, gradient_norm"):
        StudentTrainConfig(balance="even")  # type: ignore[arg-type]


def test_the_margin_objective_trains_both_encoders(tiny_corpus: Path) -> None:
    windows = collate_motion(MotionClips(tiny_corpus, "train").clips[:2], window_frames=5)
    expert = SyncNet3D(small_expert("loss"))
    config = SyncTrainConfig(model=expert.config, objective="margin", margin=1.2)
    loss = sync_batch_loss(expert, windows, config)
    loss.total.backward()
    assert loss.count == windows.num_targets and set(loss.logs) == {"margin"}
    for name, parameter in expert.named_parameters():
        assert parameter.grad is not None, name
        if name not in ("log_scale", "bias"):  # of InfoNCE
            assert parameter.grad.abs().sum() > 0, name
    wider = sync_batch_loss(expert, windows, replace(config, margin=1.8))
    assert float(wider.total.detach()) != float(loss.total.detach())
    for change in ({"objective": "triplet"}, {"margin": 0.0}, {"margin": 2.5}):
        with pytest.raises(ValueError, match=str(next(iter(change.values())))):
            SyncTrainConfig(**change)  # type: ignore[arg-type]


def test_student_loss_is_the_weighted_sum_and_reaches_the_student(tiny_corpus: Path) -> None:
    batch = collate_motion(MotionClips(tiny_corpus, "train").clips[:2])
    expert = SyncNet3D(small_expert("loss")).eval().requires_grad_(False)
    model = Student(replace(SMALL, dropout=0.0), 44)
    lips = np.arange(40)

    def total(**weights: float) -> float:
        config = StudentTrainConfig(**weights)  # type: ignore[arg-type]
        return float(StudentLoss(config, lips, expert)(model, batch).total.detach())

    off = {"vertex_weight": 0.0, "velocity_weight": 0.0, "sync_weight": 0.0}
    parts = [total(**(off | {name: 1.0})) for name in off]
    assert all(part > 0 for part in parts)
    mixed = total(vertex_weight=1.0, velocity_weight=2.0, sync_weight=0.5)
    assert mixed == pytest.approx(parts[0] + 2 * parts[1] + 0.5 * parts[2], rel=1e-4)
    only_sync = StudentTrainConfig(**(off | {"sync_weight": 1.0}))  # type: ignore[arg-type]
    loss = StudentLoss(only_sync, lips, expert)(model, batch)
    loss.total.backward()
    assert loss.count == batch.num_targets
    assert model.vertices.weight.grad is not None and model.vertices.weight.grad.abs().max() > 0


@pytest.fixture(scope="module")
def lip_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained recogniser that sees mouth crops."""
    tokenizer = Tokenizer(train_tokenizer(["bin blue at f two now", "lay red by a six again"], 40))
    config = RecognizerConfig(
        vocabulary_size=tokenizer.size,
        streams=("crops",),
        width=16,
        num_heads=2,
        fused_layers=1,
        video_channels=(8, 8, 8),
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("reader") / "best.safetensors"
    save_recognizer(path, Recognizer(config), tokenizer, {})
    return path


def test_examples_have_their_real_mouth_crops_where_asked(tiny_corpus: Path) -> None:
    clips = MotionClips(
        tiny_corpus, "train", part="second", augment=MotionAugment(stretch=0.3), mouth_crops=True
    )
    plain = MotionClips(tiny_corpus, "train", part="second", augment=MotionAugment(stretch=0.3))
    for index in range(len(clips)):
        example = clips.example(index, 0)
        assert example.mouth_crops is not None
        assert example.mouth_crops.shape == (example.num_frames, 88, 88)
        # The crops change nothing else, nor any draw; and they are the clip's own.
        np.testing.assert_array_equal(example.lips, plain.example(index, 0).lips)
        number = int(clips.clips[index].utterance_id.removeprefix("train"))
        assert set(np.unique(example.mouth_crops)) <= set(range(10 * number, 10 * number + 10))
        assert plain.example(index, 0).mouth_crops is None
    both = [clips.example(index, 0) for index in range(2)]
    batch = collate_motion(both)
    assert batch.mouth_crops is not None and batch.mouth_crops.dtype == torch.uint8
    assert batch.mouth_crops.shape == (*batch.valid_mask.shape, 88, 88)
    assert collate_motion([both[0], plain.example(1, 0)]).mouth_crops is None


def test_lip_reading_is_weighted_by_frame_and_reaches_the_student(tiny_corpus: Path) -> None:
    clips = MotionClips(tiny_corpus, "train", mouth_crops=True)
    batch = collate_motion([clips.example(0, 0), clips.example(1, 0)])
    torch.manual_seed(0)
    shape = RecognizerConfig(
        vocabulary_size=7, width=16, num_heads=2, fused_layers=1, video_channels=(8, 8)
    )
    term = LipReading(clips.templates["s0"], clips.animated_ids, LipReadNet(Recognizer(shape)), 6)
    model = Student(replace(SMALL, dropout=0.0), 44)
    weights = {"vertex_weight": 0.0, "velocity_weight": 0.0, "sync_weight": 0.0}
    config = StudentTrainConfig(**weights, lip_reading_weight=0.5, lip_reader="x")
    loss = StudentLoss(config, np.arange(40), None, lip_reading=term)(model, batch)
    read = term(model(batch.features, batch.valid_mask), batch)
    assert loss.count == batch.num_targets > read.count > 0
    per_frame = float(read.total.detach()) / read.count
    assert float(loss.total.detach()) == pytest.approx(0.5 * per_frame * loss.count, rel=1e-4)
    assert loss.logs["lip_reading"] == pytest.approx(per_frame * loss.count, rel=1e-4)
    loss.total.backward()
    assert model.vertices.weight.grad is not None and model.vertices.weight.grad.abs().max() > 0
    with pytest.raises(ValueError, match="there is no lip reader"):
        StudentLoss(config, np.arange(40), None)


def test_zero_weight_of_lip_reading_changes_not_one_bit(
    tiny_corpus: Path, experts: Path, student: Path, lip_reader: Path, tmp_path: Path
) -> None:
    config = StudentTrainConfig(model=SMALL, train=FEW, lip_reader=str(lip_reader))
    train_student(tiny_corpus, tmp_path / "zero", experts / "loss", config, cpu=True)
    read = replace(config, lip_reading_weight=1.0, lip_reading_frames=4)
    train_student(tiny_corpus, tmp_path / "one", experts / "loss", read, cpu=True)
    plain, zero, one = map(load_student, (student, tmp_path / "zero", tmp_path / "one"))
    same = plain.provenance["student_sha256"]
    assert zero.provenance["student_sha256"] == same != one.provenance["student_sha256"]
    assert zero.provenance["lip_reader_sha256"] is None
    assert one.provenance["lip_reader_sha256"] == sha256_file(lip_reader)


def test_the_loss_without_lip_reading_is_bit_by_bit_the_sum_of_the_others(
    tiny_corpus: Path,
) -> None:
    batch = collate_motion(MotionClips(tiny_corpus, "train").clips[:2])
    expert = SyncNet3D(small_expert("loss")).eval().requires_grad_(False)
    model = Student(SMALL, 44).eval()
    loss = StudentLoss(StudentTrainConfig(), np.arange(40), expert)(model, batch)
    moved = model(batch.features, batch.valid_mask)
    vertex = vertex_loss(moved, batch.displacement, batch.tracked_mask).total
    velocity = velocity_loss(moved, batch.displacement, batch.tracked_mask).total
    motion = expert.embed_motion(batch.neutral_lips[:, None] + moved[:, :, :40], batch.neutral_lips)
    mask = expert.window_mask(batch.valid_mask)
    sync = sync_loss(expert.embed_audio(batch.features), motion, mask).total
    assert torch.equal(loss.total, 1.0 * vertex + 2.0 * velocity + 0.1 * sync)
    assert set(loss.logs) == {"vertex_mm2", "velocity_mm2", "sync"}


def test_a_lip_reader_is_asked_for_where_it_is_needed(tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lip_reading_weight is 0.2 but there is no lip_reader"):
        StudentTrainConfig(lip_reading_weight=0.2)
    with pytest.raises(ValueError, match="at least 0"):
        StudentTrainConfig(lip_reading_weight=-1.0)
    with pytest.raises(ValueError, match="lip_reading_frames is 0"):
        StudentTrainConfig(lip_reading_frames=0)
    config = StudentTrainConfig(
        sync_weight=0.0, lip_reading_weight=1.0, lip_reader=str(tmp_path / "none.safetensors")
    )
    with pytest.raises(ValueError, match="none.safetensors"):
        train_student(tiny_corpus, tmp_path / "x", None, config, cpu=True)


def test_a_judge_is_never_a_loss(tiny_corpus: Path, experts: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a 'judge' and was asked to be a 'loss'"):
        train_student(tiny_corpus, tmp_path / "x", experts / "judge", cpu=True)
    with pytest.raises(ValueError, match="is a 'loss' and was asked to be a 'judge'"):
        load_sync_expert(experts / "loss", "judge")
    with pytest.raises(ValueError, match="is a 'judge'; a network that scores"):
        StudentLoss(StudentTrainConfig(), np.arange(40), SyncNet3D(small_expert("judge")))
    with pytest.raises(ValueError, match="there is no sync expert"):
        train_student(tiny_corpus, tmp_path / "x", cpu=True)
    with pytest.raises(ValueError, match="at least 0"):
        StudentTrainConfig(vertex_weight=-1.0)


def test_expert_run_folder(experts: Path, tmp_path: Path) -> None:
    model, info = load_sync_expert(experts / "judge", "judge")
    assert not any(p.requires_grad for p in model.parameters()) and not model.training
    assert info["clips"] == {"train": 6, "valid": 2} and info["training"]["part"] == "all"
    assert read_json(experts / "judge" / "run.json")["configs"]["sync_expert"]["min_shift"] == 2
    assert 0 <= info["valid"]["auc"] <= 1 and model.motion_std.std() > 0
    # A copy with other weights under the same JSON is noticed.
    save_sync_expert(tmp_path, model, {})
    (tmp_path / "sync_expert.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="sha256 differs"):
        load_sync_expert(tmp_path, "judge")


def test_student_run_folder_round_trip(tiny_corpus: Path, student: Path) -> None:
    loaded = load_student(student)
    assert loaded.template.topology == "tiny" and len(loaded.animated_ids) == 44
    assert loaded.provenance["sync_expert_sha256"] and loaded.provenance["corpus"] == "tiny"
    clip = MotionClips(tiny_corpus, "valid").clips[0]
    out = loaded.model(torch.from_numpy(clip.features)[None])
    assert out.shape == (1, 50, 44, 3)
    error = float((out[0].detach() - torch.from_numpy(clip.displacement)).norm(dim=-1).mean())
    still = float(np.linalg.norm(clip.displacement, axis=-1).mean())
    assert error < 0.7 * still  # it starts at the mean face, not at the still one


def test_experts_figures(tiny_corpus: Path, experts: Path) -> None:
    figures = evaluate_sync_expert(experts / "judge", tiny_corpus)
    assert figures["clips"] == figures["clips_scored_for_offset"] == 3
    one = figures["auc_by_length_of_speech"]["0.20_s"]
    assert one["num_true"] == sum(n - 2 - 4 for n in (50, 52, 54))
    assert one["num_true_in_speech"] < one["num_true"] and 0 <= one["all_windows"] <= 1
    assert figures["offset"]["sign"] == "positive = audio late"


def test_students_figures_have_their_controls(
    tiny_corpus: Path, experts: Path, student: Path
) -> None:
    figures = evaluate_student(student, experts / "judge", tiny_corpus)
    systems = figures["systems"]
    assert systems["truth"]["lip_error_mm"]["value"] == 0.0
    assert systems["truth"]["lip_correlation"] == pytest.approx(1.0)
    late = systems["truth_shifted_+6"]["mve_mm"]["value"]
    assert 0 < systems["truth_shifted_+1"]["mve_mm"]["value"] < late
    assert systems["still_face"]["lip_correlation"] is None
    assert systems["mean_face"]["mve_mm"]["value"] < systems["still_face"]["mve_mm"]["value"]
    assert systems["truth"]["closures"]["phones"] == 3
    difference = figures["student_minus_control"]["still_face"]["mve_mm"]
    assert difference["value"] == pytest.approx(
        systems["student"]["mve_mm"]["value"] - systems["still_face"]["mve_mm"]["value"]
    )
    assert difference["clustered_by"] == figures["clustered_by"] == "speaker"
    with pytest.raises(ValueError, match="asked to be a 'judge'"):
        evaluate_student(student, experts / "loss", tiny_corpus)
    check_every_figure_says_what_it_is(figures)


def check_every_figure_says_what_it_is(figures: dict) -> None:
    json.dumps(figures, allow_nan=False)
    assert figures["fps"] == 25.0 and set(figures["definitions"]) == set(MEASURES)
    assert set(figures["not_measured"]) == {"diversity_mm", "cer wer ver vwer"}
    regions = figures["regions"]
    assert regions["lips"]["count"] == 40 and regions["upper_face"]["count"] == 2
    assert all(len(one["sha256"]) == 64 and "'tiny'" in one["source"] for one in regions.values())
    assert figures["judge"]["sha256"] == figures["judge_sha256"]
    for name, measure in MEASURES.items():
        assert measure.region in regions
        for face, system in figures["systems"].items():
            one = system[name]
            assert one["unit"] == measure.unit
            if one["value"] is None:
                assert one["reason"]
            else:
                assert one["low"] <= one["value"] + 1e-9 and one["value"] <= one["high"] + 1e-9
            if face == "truth" and measure.better in ("near zero", "lower") and "mm" in name:
                assert one["value"] == 0.0
        assert figures["ranking"][name]["words"].endswith(".")
    systems = figures["systems"]
    assert systems["truth"]["mtm_ms"]["value"] == systems["truth"]["mtm_miss_rate"]["value"] == 0.0
    assert systems["truth_shifted_+1"]["mtm_ms"]["value"] == pytest.approx(40.0, abs=8)
    assert systems["still_face"]["mtm_miss_rate"]["value"] == 1.0
    assert systems["still_face"]["jitter_mm_per_frame3"]["value"] == 0.0
    assert systems["truth"]["slcc_clips"] == 2  # the second speaker has one clip only
    assert systems["truth"]["closure_recall"]["value"] == systems["truth"]["closures"]["recall"]
    ranking = figures["ranking"]
    assert ranking["lve_mm2"]["order"][0] == "truth"
    assert ranking["jitter_mm_per_frame3"]["ranks_controls"] is False


def test_shifted_in_time_is_late_where_positive() -> None:
    frames = np.arange(5.0)[:, None, None] * np.ones((1, 1, 3))
    assert shifted_in_time(frames, 2)[:, 0, 0].tolist() == [0, 0, 0, 1, 2]
    assert shifted_in_time(frames, -1)[:, 0, 0].tolist() == [1, 2, 3, 4, 4]
