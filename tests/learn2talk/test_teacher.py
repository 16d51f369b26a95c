"""The 2D teacher: its networks, their training, three sources of mouths, what they are worth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avsr.data.manifest import (
    PreparedUtterance,
    decode_row,
    encode_utterance,
    load_face_templates,
    load_prepared,
    save_prepared,
)
from avsr.files import MediaError, read_json, write_json, write_video
from avsr.models.recognizer import Recognizer, RecognizerConfig
from avsr.text import Tokenizer, train_tokenizer
from avsr.training.loop import TrainConfig
from avsr.training.recognizer import save_recognizer
from learn2talk import teacher as teacher_module
from learn2talk.cli import main
from learn2talk.data.mouths import MouthClips, collate_mouths
from learn2talk.models.picture_sync import PictureSync
from learn2talk.models.student import StudentConfig
from learn2talk.models.sync_expert import SyncExpertConfig
from learn2talk.models.talking_mouth import TalkingMouth, TalkingMouthConfig
from learn2talk.mouth_files import (
    load_picture_sync,
    load_talking_mouth,
    save_picture_sync,
    save_talking_mouth,
)
from learn2talk.teacher import FilmFolder, MadeMouth, Mouth, RealFilm, teacher_quality
from learn2talk.teacher_training import (
    PictureSyncConfig,
    TalkingMouthLoss,
    TalkingMouthTrainConfig,
    picture_errors,
    train_picture_sync,
    train_talking_mouth,
)
from tests.avsr.corpora.stand_in import StandInTracker

from .conftest import tiny_utterance

EAR = StudentConfig(width=16, layers=1, heads=2, feedforward=16, look_back_frames=4, dropout=0.0)
SMALL = TalkingMouthConfig(ear=EAR, channels=(8, 8, 8, 8))
EXPERT = SyncExpertConfig(width=16, embedding=8, dropout=0.0)
FEW = TrainConfig(max_updates=2, warmup_updates=1, validate_every=2, max_frames=120)


def filmed(name: str, speaker: str, seed: int, num_frames: int = 50) -> PreparedUtterance:
    """A grey square with a dark slit that opens as the sound gets louder."""
    utterance = tiny_utterance(name, speaker, seed, num_frames)
    opening = utterance.lips[:, 35, 1] - utterance.lips[:, 25, 1]
    share = (opening - opening.min()) / np.ptp(opening)
    crops = np.full((num_frames, 96, 96), 160, np.uint8)
    for picture, opened in zip(crops, share, strict=True):
        half = round(2 + 12 * float(opened))
        picture[48 - half : 48 + half, 28:68] = 30
    return replace(utterance, mouth_crops=crops)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path) -> Path:
    splits = {
        split: [
            encode_utterance(filmed(f"{split}{i}", "s0", 50 * offset + i, 50 + 4 * i))
            for i in range(count)
        ]
        for offset, (split, count) in enumerate({"train": 4, "valid": 2, "test": 3}.items())
    }
    faces = load_face_templates(tiny_corpus)
    return save_prepared(tmp_path_factory.mktemp("films"), splits, faces, {"name": "films"})


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = Tokenizer(train_tokenizer(["a b", "b a"], 8))
    torch.manual_seed(0)
    shape = RecognizerConfig(
        vocabulary_size=words.size,
        streams=("crops",),
        width=16,
        num_heads=2,
        fused_layers=1,
        video_channels=(8, 8),
    )
    path = tmp_path_factory.mktemp("reader") / "best.safetensors"
    save_recognizer(path, Recognizer(shape), words, {})
    return path


def test_an_untrained_mouth_keeps_still_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    model = TalkingMouth(SMALL).eval()
    features, reference = torch.randn(2, 40, 80), torch.rand(2, 88, 88)
    valid = torch.ones(2, 10, dtype=torch.bool)
    valid[1, 6:] = False
    with torch.no_grad():
        still = model(features, reference, valid)
        assert torch.equal(still, reference[:, None].expand(2, 10, 88, 88))
        model.change.weight.normal_(0, 0.1)
        moved = model(features, reference, valid)
        alone = model(features[1:, :24], reference[1:], valid[1:, :6])
    assert (moved[0] - still[0]).abs().max() > 0.01
    torch.testing.assert_close(moved[1, :6], alone[0], atol=1e-5, rtol=1e-4)
    assert torch.equal(moved[1, 6:], still[1, 6:])
    assert moved.min() >= 0 and moved.max() <= 1
    with pytest.raises(ValueError, match=r"reference pictures are \(40, 40\)"):
        model(features, torch.rand(2, 40, 40), valid)
    with pytest.raises(ValueError, match="four multiples of 8"):
        TalkingMouthConfig(channels=(8, 8, 8, 12))


def test_a_mouth_hears_no_farther_than_its_ear() -> None:
    torch.manual_seed(0)
    model = TalkingMouth(replace(SMALL, ear=replace(EAR, look_ahead_frames=2))).eval()
    torch.nn.init.normal_(model.change.weight, 0, 0.1)
    features, reference = torch.randn(1, 80, 80), torch.rand(1, 88, 88)
    other = features.clone()
    other[:, 4 * 13 :] += 1.0
    valid = torch.ones(1, 20, dtype=torch.bool)
    with torch.no_grad():
        a, b = model(features, reference, valid), model(other, reference, valid)
    assert torch.equal(a[:, :11], b[:, :11]) and not torch.equal(a[:, 13:], b[:, 13:])


def test_windows_of_pictures_see_nothing_outside() -> None:
    torch.manual_seed(0)
    expert = PictureSync(EXPERT).eval()
    crops = torch.randint(0, 255, (1, 12, 88, 88), dtype=torch.uint8)
    changed = crops.clone()
    changed[:, 8:] = 0
    with torch.no_grad():
        a, b = expert.embed_mouth(crops), expert.embed_mouth(changed)
        as_float = expert.embed_mouth(crops.float() / 255)
    assert a.shape == (1, 8, 8)
    torch.testing.assert_close(a[:, :4], b[:, :4])
    assert (a[:, 4:] - b[:, 4:]).abs().max() > 1e-3
    torch.testing.assert_close(a, as_float, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(a.norm(dim=-1), torch.ones(1, 8))
    with pytest.raises(ValueError, match="clip has 3 video frames"):
        expert.embed_mouth(crops[:, :3])
    with pytest.raises(ValueError, match="30 log-mel frames for 12 pictures"):
        expert(torch.randn(1, 30, 80), crops)


def test_examples_are_drawn_stretches_with_a_picture_of_their_clip(films: Path) -> None:
    clips = MouthClips(films, "train", max_frames=20, seed=3)
    assert clips.num_frames == [20] * 4 and len(clips) == 4 and not clips.excluded
    one, again, other = (clips.example(2, epoch) for epoch in (0, 0, 1))
    assert np.array_equal(one.crops, again.crops) and one.draw == again.draw
    assert one.draw != other.draw
    whole = clips.clip(2)
    starts = [
        k
        for k in range(len(whole.crops) - 19)
        if np.array_equal(whole.crops[k : k + 20], one.crops)
    ]
    assert any(np.array_equal(whole.features[4 * k : 4 * (k + 20)], one.features) for k in starts)
    assert any(np.array_equal(one.reference, picture) for picture in whole.crops)
    batch = collate_mouths([clips.clip(0), clips.clip(1)], window_frames=5)
    assert batch.crops.shape == (2, 54, 88, 88) and batch.num_targets == 44 + 48
    assert batch.valid_mask.sum() == 104 and batch.tracked_mask.sum() == 100
    with pytest.raises(ValueError, match="has no usable clip, 4 excluded"):
        MouthClips(films, "train", window_frames=500)


def test_picture_errors_by_hand() -> None:
    target = torch.zeros(1, 2, 4, 4)
    made = target.clone()
    made[0, 0, 1, 1] = 1.0  # one of 16 pixels, two edges each of 12 pairs along each side
    pixels, edges = picture_errors(made, target)
    assert pixels[0].tolist() == [1 / 16, 0]
    torch.testing.assert_close(edges[0], torch.tensor([4 / 12, 0.0]))


def test_losses_are_weighted_and_masked(films: Path) -> None:
    clips = MouthClips(films, "train")
    batch = collate_mouths([clips.clip(0), clips.clip(1)])
    torch.manual_seed(0)
    model, expert = TalkingMouth(SMALL), PictureSync(EXPERT).eval().requires_grad_(False)

    def total(**weights: float) -> float:
        config = TalkingMouthTrainConfig(**weights)  # type: ignore[arg-type]
        return float(TalkingMouthLoss(config, expert)(model, batch).total.detach())

    off = {"pixel_weight": 0.0, "edge_weight": 0.0, "sync_weight": 0.0}
    parts = [total(**(off | {name: 1.0})) for name in off]
    assert all(part > 0 for part in parts)
    mixed = total(pixel_weight=1.0, edge_weight=2.0, sync_weight=0.5)
    assert mixed == pytest.approx(parts[0] + 2 * parts[1] + 0.5 * parts[2], rel=1e-4)
    blind = replace(batch, tracked_mask=torch.zeros_like(batch.tracked_mask))
    config = TalkingMouthTrainConfig(sync_weight=0.0)
    loss = TalkingMouthLoss(config, None)(model, blind)
    assert loss.count == 0 and float(loss.total.detach()) == 0.0
    with pytest.raises(ValueError, match="there is no sync expert"):
        TalkingMouthLoss(TalkingMouthTrainConfig(), None)
    judge = PictureSync(replace(EXPERT, role="judge"))
    with pytest.raises(ValueError, match="'judge'; a network that scores films is never"):
        TalkingMouthLoss(TalkingMouthTrainConfig(), judge)
    with pytest.raises(ValueError, match="loss weights must be at least 0"):
        TalkingMouthTrainConfig(edge_weight=-1.0)


def test_both_are_trained_and_read_again(films: Path, tmp_path: Path) -> None:
    sync = PictureSyncConfig(model=EXPERT, train=FEW, max_frames=40)
    best = train_picture_sync(films, tmp_path / "sync", sync, cpu=True)
    assert 0 <= best["auc"] <= 1
    expert, info = load_picture_sync(tmp_path / "sync", "loss")
    assert not expert.training and info["training"]["max_frames"] == 40
    with pytest.raises(ValueError, match="is a 'loss' and was asked to be a 'judge'"):
        load_picture_sync(tmp_path / "sync", "judge")
    config = TalkingMouthTrainConfig(model=SMALL, train=FEW, max_frames=20)
    best = train_talking_mouth(films, tmp_path / "mouth", tmp_path / "sync", config, cpu=True)
    assert best["pixel_error"] > 0 and best["still_pixel_error"] > 0
    made = MadeMouth(tmp_path / "mouth")
    utterance = decode_row(load_prepared(films, "test")[0])
    mouth = made.mouth(utterance)
    assert mouth.crops.shape == (50, 88, 88) and mouth.valid.all()
    assert made.name.startswith("talking mouth ")


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    save_talking_mouth(tmp_path / "m", TalkingMouth(SMALL), {"from": "tests"})
    save_picture_sync(tmp_path / "s", PictureSync(EXPERT), {})
    loaded, info = load_talking_mouth(tmp_path / "m")
    assert loaded.config == SMALL and info["from"] == "tests"
    with pytest.raises(ValueError, match="s: has no talking_mouth.json"):
        load_talking_mouth(tmp_path / "s")
    told = tmp_path / "m/talking_mouth.json"
    content = told.read_text(encoding="utf-8")
    write_json(told, {"kind": "student"})
    with pytest.raises(ValueError, match="is not the description of a talking mouth"):
        load_talking_mouth(tmp_path / "m")
    told.write_text(content.replace('"channels"', '"canals"'), encoding="utf-8")
    with pytest.raises(ValueError, match="its config does not fit"):
        load_talking_mouth(tmp_path / "m")
    told.write_text(content, encoding="utf-8")
    (tmp_path / "m/talking_mouth.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match="is missing, or not the file that"):
        load_talking_mouth(tmp_path / "m")


class Known:
    """A teacher that gives the real mouth, or nothing for one utterance."""

    name = "known"

    def __init__(self, without: str) -> None:
        self.without = without

    def mouth(self, utterance: PreparedUtterance) -> Mouth:
        if utterance.utterance_id == self.without:
            raise ValueError(f"utterance {utterance.utterance_id}: no film")
        return RealFilm().mouth(utterance)


def test_the_real_film_is_as_good_as_itself(films: Path, reader: Path) -> None:
    lines: list[str] = []
    found = teacher_quality(Known("test1"), films, reader, say=lines.append)
    assert found["ssim"]["value"] == pytest.approx(1.0) and found["utterances"] == 2
    assert found["left_out"] == [{"utterance_id": "test1", "reason": "utterance test1: no film"}]
    assert lines == ["left out: utterance test1: no film"]
    rates = found["lip_reading_wer"]
    assert rates["teacher"] == rates["real_film"] and rates["still"]["num_clusters"] == 2
    still = teacher_quality(_Still(), films, reader)
    assert still["ssim"]["value"] < 0.99
    assert still["lip_reading_wer"]["teacher"] == still["lip_reading_wer"]["still"]


class _Still:
    name = "still"

    def mouth(self, utterance: PreparedUtterance) -> Mouth:
        real = RealFilm().mouth(utterance)
        first = real.crops[int(np.flatnonzero(real.valid)[0])]
        return Mouth(np.repeat(first[None], len(real.crops), 0), real.valid)


def test_a_recogniser_without_mouths_is_refused(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Tokenizer(train_tokenizer(["a b", "b a"], 8))
    shape = RecognizerConfig(words.size, streams=("audio",), width=16, num_heads=2)
    save_recognizer(tmp_path / "ear.safetensors", Recognizer(shape), words, {})
    with pytest.raises(ValueError, match="reads audio, not mouth crops"):
        teacher_quality(RealFilm(), films, tmp_path / "ear.safetensors")


def test_too_few_mouths_to_measure_are_counted_with_the_first_reason(
    films: Path, reader: Path
) -> None:
    class Nothing:
        name = "nothing"

        def mouth(self, utterance: PreparedUtterance) -> Mouth:
            raise ValueError(f"utterance {utterance.utterance_id}: no film")

    with pytest.raises(
        ValueError, match=r"0 utterances of split 'test' .* first of 3 .* test0: no"
    ):
        teacher_quality(Nothing(), films, reader, say=lambda _: None)


def test_the_command_measures_each_kind_of_teacher(
    films: Path,
    reader: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(teacher_module, "FaceTracker", _Tracker)
    save_talking_mouth(tmp_path / "mouth", TalkingMouth(SMALL), {})
    (tmp_path / "films").mkdir()
    for name, count in {"test0": 50, "test1": 54, "test2": 20}.items():
        picture = np.full((120, 160, 3), 128, np.uint8)
        write_video(tmp_path / f"films/{name}.mp4", [picture] * count)
    plain = ["evaluate-teacher", str(films), "--lip-reader", str(reader)]
    out = tmp_path / "quality.json"
    made = ["--films", str(tmp_path / "films"), "--landmarker-model", "model"]
    ours = ["--talking-mouth", str(tmp_path / "mouth")]
    named = {}
    for words in ([], ours, made):
        main([*plain, *words, "--out", str(out)])
        figures = read_json(out)
        named[figures["teacher"].split(" ")[0]] = figures["utterances"]
    assert named == {"real": 3, "talking": 3, "films": 2}
    assert "test2.mp4: 20 frames for an utterance of 58" in capsys.readouterr().out
    main(plain)
    assert json.loads(capsys.readouterr().out)["ssim"]["value"] == pytest.approx(1.0)
    for words, said in (
        ([*made, *ours], "two teachers"),
        (["--landmarker-model", "model"], "give --films too"),
    ):
        with pytest.raises(SystemExit):
            main([*plain, *words])
        assert said in capsys.readouterr().err


class _Tracker(StandInTracker):
    def __enter__(self) -> _Tracker:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


def test_a_folder_of_films(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_module, "FaceTracker", _Tracker)
    utterance = replace(decode_row(load_prepared(films, "test")[0]), utterance_id="s0/test0")
    with pytest.raises(ValueError, match="gone: no such folder"):
        FilmFolder(tmp_path / "gone", "model")
    with pytest.raises(ValueError, match=r"has no film; it needs an .mp4 .* <utterance>.mp4"):
        FilmFolder(tmp_path, "model")
    (tmp_path / "b.mp4").touch()
    folder = FilmFolder(tmp_path, "model")
    (tmp_path / "b.mp4").unlink()
    assert folder.missing(["s0/test0", "b"]) == ["s0/test0", "b"]
    with pytest.raises(ValueError, match=r"utterance s0/test0: .*s0__test0.mp4 is missing"):
        folder.mouth(utterance)

    def film(frames: int, level: int = 128) -> None:
        picture = np.full((120, 160, 3), level, np.uint8)
        write_video(tmp_path / "s0__test0.mp4", [picture] * frames)

    film(60)
    mouth = folder.mouth(utterance)
    assert mouth.crops.shape == (50, 88, 88) and mouth.valid.all() and mouth.crops.mean() > 50
    assert folder.missing(["s0/test0", "b"]) == ["b"]
    film(47)  # three frames short
    mouth = folder.mouth(utterance)
    assert mouth.valid.sum() == 47 and not mouth.crops[47:].any()
    film(30)
    with pytest.raises(MediaError, match="30 frames for an utterance of 50; the film ends early"):
        folder.mouth(utterance)
    film(50, level=10)
    with pytest.raises(MediaError, match="no face found in 50 frames"):
        folder.mouth(utterance)
    with pytest.raises(ValueError, match="has no film"):
        RealFilm().mouth(replace(utterance, video_valid=np.zeros(50, bool)))
