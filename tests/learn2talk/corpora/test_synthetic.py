"""The embedded corpus: complete, exact, repeatable, resumable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avsr.data.manifest import (
    PreparedUtterance,
    check_utterance,
    decode_row,
    load_face_templates,
    load_info,
    load_prepared,
)
from learn2talk.corpora import synthetic
from learn2talk.corpora.synthetic import SyntheticConfig, build, make_utterance, talker

SMALL = SyntheticConfig(num_train=2, num_valid=1, num_test=1, num_speakers=4, seed=3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    return build(out, SMALL, num_processes=1, progress=False)


def test_the_folder_holds_what_was_asked(corpus: Path) -> None:
    speakers = {}
    for split, count in (("train", 2), ("valid", 1), ("test", 1)):
        rows = [decode_row(row) for row in load_prepared(corpus, split)]
        assert len(rows) == count
        speakers[split] = {row.speaker_id for row in rows}
        for row in rows:
            check_utterance(row)
            assert row.video_valid.all()
            assert row.phones
            assert " ".join(word.word for word in row.words) == row.text
    assert sum(map(len, speakers.values())) == len(set().union(*speakers.values()))
    assert load_info(corpus)["synthetic"] is True
    assert not (corpus / ".utterances").exists()


def test_lips_and_templates_belong_to_the_vertices(corpus: Path) -> None:
    faces = load_face_templates(corpus)
    row = decode_row(load_prepared(corpus, "test")[0])
    ids = np.concatenate([faces.regions["lips_outer"], faces.regions["lips_inner"]])
    np.testing.assert_allclose(row.lips, row.vertices[:, ids], atol=0.01)
    neutral = faces.templates[row.speaker_id]
    assert np.abs(row.vertices[0] - neutral).max() < 6.0  # it begins in silence
    assert len(faces.templates) == SMALL.num_speakers


def test_lips_close_for_bilabials_and_open_for_vowels() -> None:
    config = SyntheticConfig()
    closed, opened = [], []
    for index in range(6):
        row = make_utterance(config, "train", index)
        gap = np.linalg.norm(row.lips[:, 35] - row.lips[:, 25], axis=1)
        for phone in row.phones:
            span = gap[int((phone.start_s - 0.04) * 25) : int((phone.end_s + 0.04) * 25) + 1]
            if phone.phone in ("p", "b", "m"):
                closed.append(span.min())
            elif phone.phone in ("a", "æ", "ɑ", "aɪ", "aʊ", "ɛ"):
                opened.append(span.max())
    assert len(closed) > 5
    assert max(closed) < 1.5
    assert len(opened) > 5
    assert np.median(opened) > 6.0


def test_an_utterance_is_a_function_of_its_arguments() -> None:
    first, again = (make_utterance(SMALL, "train", 1) for _ in range(2))
    for name in ("audio", "mouth_crops", "vertices"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.text == again.text
    other = make_utterance(SyntheticConfig(seed=4), "train", 1)
    assert other.text != first.text or len(other.audio) != len(first.audio)


def test_talkers_differ() -> None:
    one, two = talker(0, 0), talker(0, 1)
    assert one.style != two.style
    assert one.palette != two.palette
    assert np.abs(one.head.template.vertices - two.head.template.vertices).max() > 0.5


def test_a_stopped_run_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int]] = []
    real = synthetic.make_utterance

    def counted(config: SyntheticConfig, split: str, index: int) -> PreparedUtterance:
        if len(made) == 2 and not resumed:
            raise KeyboardInterrupt
        made.append((split, index))
        return real(config, split, index)

    resumed = False
    monkeypatch.setattr(synthetic, "make_utterance", counted)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, SMALL, num_processes=1, progress=False)
    resumed = True
    build(tmp_path, SMALL, num_processes=1, progress=False)
    assert sorted(made) == [("test", 0), ("train", 0), ("train", 1), ("valid", 0)]


def test_a_finished_folder_is_kept_and_another_configuration_refused(corpus: Path) -> None:
    before = (corpus / "corpus.json").stat().st_mtime_ns
    build(corpus, SMALL, num_processes=1, progress=False)
    assert (corpus / "corpus.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="another folder"):
        build(corpus, SyntheticConfig(seed=9), num_processes=1, progress=False)


@pytest.mark.parametrize(
    "wrong", [{"num_test": 0}, {"num_speakers": 2}, {"num_speakers": 99}, {"wide_share": 1.5}]
)
def test_impossible_configurations_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        SyntheticConfig(**wrong)  # type: ignore[arg-type]
