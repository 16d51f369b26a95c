"""Corpora joined into one, and their mouths drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avsr.data.manifest import (
    FaceTemplates,
    decode_row,
    encode_utterance,
    load_face_templates,
    load_info,
    load_prepared,
    save_prepared,
)
from avsr.schema import WordTime
from learn2talk.corpora.drawn import SUFFIX, draw_mouths, drawn_mouths
from learn2talk.corpora.joined import join_corpora
from learn2talk.data.motion import animated_ids
from learn2talk.head import HeadIdentity, build_head
from learn2talk.schema import FaceTemplate
from tests.learn2talk.conftest import tiny_template, tiny_utterance


def _corpus(out: Path, name: str, speaker: str, face: FaceTemplate | None = None) -> Path:
    """One clip a split, without phones: "bin a"."""
    words = (WordTime("bin", 0.2, 0.8), WordTime("a", 0.8, 1.4))
    rows = {}
    for seed, split in enumerate(("train", "valid", "test")):
        clip = tiny_utterance(f"{name}-{split}", speaker, seed, num_frames=40)
        rows[split] = [encode_utterance(replace(clip, words=words, phones=(), text="bin a"))]
    face = face or tiny_template()
    faces = FaceTemplates(
        face.topology, face.triangles, dict(face.regions), {speaker: face.vertices}
    )
    return save_prepared(out, rows, faces, {"name": name})


def test_rows_and_faces_of_both_are_there(tmp_path: Path) -> None:
    parts = [_corpus(tmp_path / n, n, s) for n, s in (("one", "s1"), ("two", "s2"))]
    out = join_corpora(parts, tmp_path / "both")
    assert load_prepared(out, "train")["utterance_id"] == ["one-train", "two-train"]
    assert sorted(load_face_templates(out).templates) == ["s1", "s2"]
    assert load_info(out)["name"] == "one and two"
    assert decode_row(load_prepared(out, "test")[0]).phones == ()
    before = (out / "corpus.json").stat().st_mtime_ns
    assert join_corpora(parts, out) == out  # finished: left as it is
    assert (out / "corpus.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="made of something else"):
        join_corpora(parts[:1], out)


def test_phones_are_estimated_where_asked(tmp_path: Path) -> None:
    part = _corpus(tmp_path / "one", "one", "s1")
    out = join_corpora([part], tmp_path / "with", estimate_phones=True)
    phones = json.loads(load_prepared(out, "valid")[0]["phones"])
    assert [one["phone"] for one in phones] == ["b", "ɪ", "n", "eɪ"]
    assert load_info(out)["joined"]["phones_estimated"] is True


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    one = _corpus(tmp_path / "one", "one", "s1")
    plain = tiny_template()
    other = FaceTemplate("other", plain.vertices, plain.triangles, plain.regions)
    two = _corpus(tmp_path / "two", "two", "s2", other)
    with pytest.raises(ValueError, match="'other'.*join corpora of one topology"):
        join_corpora([one, two], tmp_path / "out")
    bigger = FaceTemplate(plain.topology, 1.1 * plain.vertices, plain.triangles, plain.regions)
    three = _corpus(tmp_path / "three", "three", "s1", bigger)
    with pytest.raises(ValueError, match="speaker 's1' has another face"):
        join_corpora([one, three], tmp_path / "out")
    with pytest.raises(ValueError, match="no corpus.json"):
        join_corpora([one, tmp_path], tmp_path / "out")
    with pytest.raises(ValueError, match="no corpus.json"):
        draw_mouths(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="nothing to join"):
        join_corpora([], tmp_path / "out")
    assert not (tmp_path / "out" / "corpus.json").exists()


def test_drawn_mouths_come_beside_the_films(tmp_path: Path) -> None:
    part = _corpus(tmp_path / "one", "one", "s1")
    out = draw_mouths(part, tmp_path / "drawn")
    rows = load_prepared(out, "train")
    film, drawn = decode_row(rows[0]), decode_row(rows[1])
    assert drawn.utterance_id == film.utterance_id + SUFFIX
    assert drawn.mouth_crops.shape == film.mouth_crops.shape
    np.testing.assert_array_equal(film.audio, drawn.audio)
    assert not np.array_equal(film.mouth_crops, drawn.mouth_crops)
    alone = draw_mouths(part, tmp_path / "alone", with_films=False)
    assert load_prepared(alone, "train")["utterance_id"] == [drawn.utterance_id]
    with pytest.raises(ValueError, match="made of something else"):
        draw_mouths(part, out, with_films=False)


def test_a_moved_mouth_looks_different_and_rest_is_rest() -> None:
    head = build_head(HeadIdentity()).template
    ids = animated_ids(head)
    moved = np.zeros((3, len(ids), 3), np.float32)
    lower = np.isin(ids, head.lip_ids) & (head.vertices[ids][:, 1] < head.lips[:, 1].mean())
    moved[2, lower, 1] = -6.0
    crops = drawn_mouths(head, ids, moved)
    np.testing.assert_array_equal(crops[0], crops[1])
    assert (crops[2] != crops[0]).mean() > 0.02


def test_a_template_of_another_topology_is_refused(tmp_path: Path) -> None:
    part = _corpus(tmp_path / "one", "one", "s1")
    head = build_head(HeadIdentity()).template
    with pytest.raises(ValueError, match="'tiny', the template of"):
        draw_mouths(part, tmp_path / "drawn", template=head)
