"""Head motion from a made-up corpus: examples, masks, learning, resuming, files, figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.files import read_json
from avsr.training.loop import TrainConfig
from learn2talk import cli, head_motion_training
from learn2talk.data.head_motion import MIRRORED, HeadAugment, HeadClips, collate_heads
from learn2talk.head_motion_files import load_head_motion, save_head_motion
from learn2talk.head_motion_training import (
    HeadMotionTrainConfig,
    head_figures,
    head_motion_loss,
    train_head_motion,
    validate_head_motion,
)
from learn2talk.models.head_motion import HeadMotionConfig, PoseVAE

from .moving_heads import save_moving

SMALL = HeadMotionConfig(
    width=16, layers=1, heads=2, feedforward=16, dropout=0.0, look_back_frames=8, latent=2
)
FEW = TrainConfig(
    max_updates=4, warmup_updates=1, validate_every=2, max_frames=120, batches_per_update=1
)
CONFIG = HeadMotionTrainConfig(model=SMALL, train=FEW)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_moving(tmp_path_factory.mktemp("moving"))


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_head_motion(corpus, folder, CONFIG, cpu=True)
    return folder


def test_clips_begin_where_the_head_is_tracked_and_others_are_left_out(corpus: Path) -> None:
    clips = HeadClips(corpus, "train")
    assert clips.excluded == [
        ("train0", "no head pose"),
        ("train1", "4 tracked frames, fewer than 10"),
    ]
    assert [clip.num_frames for clip in clips.clips] == [46, 50, 54, 58]  # 2 frames less each
    for clip in clips.clips:
        assert clip.tracked.all() and np.abs(clip.pose).max() < 5
        assert clip.features.shape == (4 * clip.num_frames, 80)
    batch = collate_heads(clips.clips)
    assert batch.pose.shape == (4, 58, 6) and batch.num_targets == 46 + 50 + 54 + 58
    assert (batch.pose[0, 46:] == 0).all() and not batch.tracked_mask[0, 46:].any()


def test_a_corpus_without_head_poses_says_so(tmp_path: Path) -> None:
    still = save_moving(tmp_path / "still", known=False)
    with pytest.raises(ValueError, match=r"split 'train' has no clip with a head pose, 6 left out"):
        train_head_motion(still, tmp_path / "run", CONFIG, cpu=True)


def test_examples_are_cut_and_mirrored_anew_in_every_epoch(corpus: Path) -> None:
    augment = HeadAugment(crop_frames=20, gain_db=3.0)
    clips = HeadClips(corpus, "train", augment=augment, seed=1)
    assert clips.num_frames == [20] * 4
    seen = set()
    for epoch in range(12):
        one = clips.example(2, epoch)
        np.testing.assert_array_equal(one.pose, clips.example(2, epoch).pose)
        assert one.pose.shape == (20, 6) and one.features.shape == (80, 80) and one.tracked[0]
        whole = clips.clips[2].pose
        starts = [
            (start, flip)
            for start in range(len(whole) - 19)
            for flip in (False, True)
            if np.array_equal(whole[start : start + 20] * (MIRRORED if flip else 1), one.pose)
        ]
        assert len(starts) == 1
        seen.add(starts[0])
    assert len({start for start, _ in seen}) > 3 and len({flip for _, flip in seen}) == 2
    plain = HeadClips(corpus, "train", augment=HeadAugment(0, 0.0, False))
    np.testing.assert_array_equal(plain.example(1, 3).features, plain.clips[1].features)
    with pytest.raises(ValueError, match="crop_frames 5 must be 0 or at least 10"):
        HeadAugment(crop_frames=5)


def test_a_mirrored_pose_is_the_pose_of_the_mirrored_face() -> None:
    from avsr.video import rotation_matrices

    mirror = np.diag([-1.0, 1.0, 1.0])
    pose = np.array([0.1, -0.2, 0.3, 4.0, 5.0, 0.0])
    expected = mirror @ rotation_matrices(pose[:3]) @ mirror
    np.testing.assert_allclose(rotation_matrices((pose * MIRRORED)[:3]), expected, atol=1e-12)
    np.testing.assert_allclose((pose * MIRRORED)[3:], mirror @ pose[3:])


def test_the_loss_counts_tracked_frames_only(corpus: Path) -> None:
    torch.manual_seed(0)
    model = PoseVAE(SMALL).eval()
    batch = collate_heads(HeadClips(corpus, "valid").clips)
    holes = batch.tracked_mask.clone()
    holes[:, 10:14] = False
    masked = replace(batch, tracked_mask=holes, num_targets=int(holes.sum()))
    first = head_motion_loss(model, masked, CONFIG)
    wrong = torch.where(holes[..., None], batch.pose, torch.full_like(batch.pose, 30.0))
    second = head_motion_loss(model, replace(masked, pose=wrong), CONFIG)
    assert first.count == int(holes.sum())
    torch.testing.assert_close(first.total, second.total)
    parts = first.logs
    total = parts["pose"] + 2.0 * parts["velocity"] + 0.04 * parts["kl_nats"]
    assert float(first.total.detach()) == pytest.approx(total, rel=1e-5)
    assert float(head_motion_loss(model, masked, CONFIG).total.detach()) == pytest.approx(
        float(first.total.detach())
    )
    mean = head_motion_loss(model, masked, CONFIG, noisy=False)
    assert float(mean.total.detach()) != pytest.approx(float(first.total.detach()), rel=1e-6)


def rows_of(run: Path) -> list[dict[str, float]]:
    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_training_learns_and_leaves_a_folder(corpus: Path, tmp_path: Path) -> None:
    settings = replace(FEW, max_updates=30, validate_every=15, learning_rate=1e-2)
    config = replace(CONFIG, train=settings)
    best = train_head_motion(corpus, tmp_path / "whole", config, cpu=True)
    losses = [row["loss"] for row in rows_of(tmp_path / "whole")]
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6])
    assert best["loss"] < losses[0] and best["reconstruction_deg"] < best["still_deg"]
    told = read_json(tmp_path / "whole/run.json")
    assert told["excluded"]["valid"] == [["valid0", "no head pose"]]
    assert told["clips"] == {"train": 4, "valid": 2}
    again = train_head_motion(corpus, tmp_path / "whole", config, cpu=True)  # it is done
    assert again == best


def test_a_stopped_run_goes_on_as_if_it_had_not(
    corpus: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def stops(*arguments: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return validate_head_motion(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(head_motion_training, "validate_head_motion", stops)
    with pytest.raises(KeyboardInterrupt):
        train_head_motion(corpus, tmp_path / "run", CONFIG, cpu=True)
    train_head_motion(corpus, tmp_path / "run", CONFIG, cpu=True)
    assert [row["update"] for row in rows_of(tmp_path / "run")] == [1, 2, 3, 4]
    whole, resumed = (load_head_motion(f).model.state_dict() for f in (run, tmp_path / "run"))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, atol=0, rtol=0)


def test_files_round_trip_and_refusals(run: Path, tmp_path: Path) -> None:
    trained = load_head_motion(run)
    assert trained.model.config == SMALL and not trained.model.training
    assert trained.provenance["corpus"] == "moving" and trained.provenance["weights_sha256"]
    save_head_motion(tmp_path, trained.model, {"made": "here"})
    again = load_head_motion(tmp_path)
    for name, value in trained.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, atol=0, rtol=0)
    info = tmp_path / "head_motion.json"
    text = info.read_text()
    for changed, said in (
        (text.replace('"head motion"', '"talking mouth"'), "is not the description of a head mo"),
        (text.replace('"latent": 2', '"latent": 3'), "head_motion.safetensors"),
        (text.replace('"latent": 2', '"latent": 0'), "its config does not fit"),
        (text.replace('"latent": 2', '"lateral": 2'), "its config does not fit"),
    ):
        info.write_text(changed)
        with pytest.raises(ValueError, match=said):
            load_head_motion(tmp_path)
    info.write_text(text)
    (tmp_path / "head_motion.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match="is missing, or not the file that head_motion.json tells"):
        load_head_motion(tmp_path)
    with pytest.raises(ValueError, match="has no head_motion.json; give the folder of a trained"):
        load_head_motion(tmp_path / "nowhere")


def test_figures_of_perfect_and_of_still_heads(corpus: Path) -> None:
    clips = HeadClips(corpus, "valid").clips
    truth = [clip.pose for clip in clips]
    still = [np.repeat(clip.pose[:1], clip.num_frames, axis=0) for clip in clips]
    figures = head_figures(clips, truth, truth)
    assert figures["reconstruction_deg"] == figures["reconstruction_mm"] == 0
    assert figures["drawn_speed_distance_deg_s"] == 0
    assert figures["drawn_spread_deg"] == figures["truth_spread_deg"] > 1
    assert figures["still_deg"] > 1
    figures = head_figures(clips, still, still)
    assert figures["reconstruction_deg"] == figures["still_deg"]
    assert figures["drawn_speed_deg_s"] == figures["drawn_spread_mm"] == 0
    distance = figures["drawn_speed_distance_deg_s"]
    assert distance == figures["still_speed_distance_deg_s"]
    assert distance == pytest.approx(figures["truth_slow_speed_deg_s"])


def test_the_commands_train_and_measure(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"train head-motion {corpus} --out {tmp_path / 'run'} --cpu".split()
    words += "--config.model.width 16 --config.model.layers 1 --config.model.heads 2".split()
    words += "--config.train.max-updates 1 --config.train.validate-every 1".split()
    cli.main([*words, "--config.kl-weight", "0.1", "--config.augment.crop-frames", "20"])
    shown = capsys.readouterr().out
    assert '"reconstruction_deg"' in shown and '"train": 2' in shown  # left out
    words = f"evaluate-head-motion {corpus} --head-motion {tmp_path / 'run'} --split valid".split()
    cli.main([*words, "--out", str(tmp_path / "figures.json")])
    figures = read_json(tmp_path / "figures.json")
    assert figures["clips"] == 2 and figures["left_out"] == 1 and figures["seed"] == 0
    assert figures["figures"]["still_deg"] > 0 and figures["trained_on"] == "moving"
    with pytest.raises(SystemExit):
        cli.main([*words[:-1], "test"])
    assert "split 'test' has no clip with a head pose, 0 left out" in capsys.readouterr().err


def test_weights_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="loss weights must be at least 0"):
        HeadMotionTrainConfig(kl_weight=-1.0)
