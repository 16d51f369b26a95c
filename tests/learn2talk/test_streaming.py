"""A live face: the frames of `animate`, and what a caller may get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avsr.audio import log_mel
from learn2talk.animate import animate
from learn2talk.data.motion import animated_ids
from learn2talk.files import TrainedStudent
from learn2talk.models.autoregressive import AutoregressiveConfig, AutoregressiveStudent
from learn2talk.models.student import Student, StudentConfig
from learn2talk.schema import FaceTemplate
from learn2talk.streaming import LiveFace

from .conftest import tiny_template


def trained_of(num_styles: int = 0) -> TrainedStudent:
    template = tiny_template()
    ids = animated_ids(template)
    torch.manual_seed(0)
    config = StudentConfig(
        width=16, layers=2, heads=2, feedforward=16, look_ahead_frames=4, num_styles=num_styles
    )
    names = tuple(f"s{i}" for i in range(num_styles))
    return TrainedStudent(Student(config, len(ids)).eval(), template, ids, {}, names)


@pytest.mark.parametrize("size", [1, 320, 1000, 640 * 40])
def test_a_live_face_is_the_animated_one(size: int) -> None:
    trained = trained_of(2)
    sound = np.random.default_rng(0).uniform(-1, 1, 320 * 9 + 3 if size == 1 else 640 * 21 + 3)
    live = LiveFace(trained, style="s1")
    parts = [live.push(sound[start : start + size]) for start in range(0, len(sound), size)]
    parts.append(live.finish())
    whole = animate(sound, trained, style="s1").vertices
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=2e-5)
    assert live.num_frames == len(whole) and live.latency_ms == 167.5


@pytest.mark.parametrize("look_ahead", [1, 2, 3, 4])
def test_a_shorter_look_ahead_gives_each_frame_as_if_the_sound_ended_after_it(
    look_ahead: int,
) -> None:
    trained = trained_of()
    sound = np.random.default_rng(0).uniform(-1, 1, 640 * 12 + 3)
    for size in (250, 640 * 5, len(sound)):
        live = LiveFace(trained, look_ahead_frames=look_ahead)
        parts = [live.push(sound[start : start + size]) for start in range(0, len(sound), size)]
        given = live.num_frames
        assert given == 12 - look_ahead  # the window of the 12th reaches beyond the 3 samples
        frames = np.concatenate([*parts, live.finish()])
        assert len(frames) == live.num_frames == 13
        assert live.latency_ms == 40 * look_ahead + 7.5
        for number in range(given):
            # Features that the layers heard: whole windows, the last one 120 samples further on.
            heard = log_mel(torch.from_numpy(sound)[None])[:, : 4 * (number + look_ahead)]
            with torch.no_grad():
                moved = trained.model(heard.float())[0, number].numpy()
            wanted = trained.template.vertices.copy()
            wanted[trained.animated_ids] += moved
            np.testing.assert_allclose(frames[number], wanted, atol=2e-5)
        whole = animate(sound, trained).vertices
        np.testing.assert_allclose(frames[given:], whole[given:], atol=2e-5)


def test_a_look_ahead_that_cannot_be_is_refused() -> None:
    for wrong in (0, 5):
        with pytest.raises(ValueError, match=f"look-ahead is {wrong} frames; .* 1 .* to 4"):
            LiveFace(trained_of(), look_ahead_frames=wrong)


def test_little_and_silent_sound() -> None:
    live = LiveFace(trained_of())
    assert live.push(np.zeros(0)).shape == (0, 46, 3)
    assert live.finish().shape == (0, 46, 3)
    short = LiveFace(trained_of())
    short.push(np.zeros(320))  # 20 ms, silent: one frame, filled up
    last = short.finish()
    assert last.shape == (1, 46, 3) and np.isfinite(last).all()


def test_bad_sound_is_refused_and_the_stream_goes_on() -> None:
    trained = trained_of()
    sound = np.random.default_rng(0).uniform(-1, 1, 6400)
    live = LiveFace(trained)
    parts = [live.push(sound[:3000])]
    for wrong, said in (
        (np.zeros((2, 640)), r"shape \(2, 640\); give mono"),
        (np.full(640, np.nan), "nothing of this piece was taken"),
        (np.full(640, np.inf), "NaN or infinite"),
    ):
        with pytest.raises(ValueError, match=said):
            live.push(wrong)
    parts += [live.push(sound[3000:]), live.finish()]
    np.testing.assert_allclose(np.concatenate(parts), animate(sound, trained).vertices, atol=2e-5)


def test_students_that_cannot_stream_and_templates_that_do_not_fit() -> None:
    trained = trained_of()
    baseline = AutoregressiveStudent(AutoregressiveConfig(width=8, encoder_layers=1), 44).eval()
    other = TrainedStudent(baseline, trained.template, trained.animated_ids, {})
    with pytest.raises(ValueError, match="streaming needs a parallel student"):
        LiveFace(other)
    own = trained.template
    with pytest.raises(ValueError, match="topology 'other'"):
        LiveFace(trained, FaceTemplate("other", own.vertices, own.triangles, own.regions))
    with pytest.raises(ValueError, match="has no styles"):
        LiveFace(trained, style="s0")
