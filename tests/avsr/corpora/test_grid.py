"""GRID: names, align files, lists; preparation with a stand-in tracker and with MediaPipe."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from avsr.corpora import talking_faces
from avsr.corpora.grid import (
    GridError,
    find_files,
    prepare,
    read_align,
    read_splits,
    split_of_id,
    text_of_code,
)
from avsr.corpora.talking_faces import CorpusError, PrepareConfig, fit_audio, prepare_clip
from avsr.data.manifest import decode_row, load_face_templates, load_info, load_prepared
from avsr.files import MediaError, read_jsonl, write_video
from avsr.tracking import LIPS_INNER, LIPS_OUTER, FaceTracker

from .stand_in import StandInTracker, film, install, pictures

ALIGN = "0 10000 sil\n10000 15000 bin\n15000 17500 blue\n17500 20000 at\n20000 21000 f\n"
ALIGN += "21000 22000 three\n22000 23000 sp\n23000 24000 soon\n24000 25000 sil\n"


def corpus(root: Path, codes: Iterable[str] = ("bbaf3s",)) -> Path:
    for code in codes:
        film(root / f"s1/video/{code}.mp4")
    (root / "s1/align").mkdir(parents=True, exist_ok=True)
    (root / "s1/align/bbaf3s.align").write_text(ALIGN)
    return root


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    StandInTracker.calls = 0
    install(monkeypatch.setattr)


def run(root: Path, out: Path, **options: Any) -> list[str]:
    said: list[str] = []
    options = {"num_processes": 1, "progress": False, **options}
    prepare(root, out, landmarker_model="stand-in", say=said.append, **options)
    return said


def test_codes_spell_sentences() -> None:
    assert text_of_code("lbax4n") == "lay blue at x four now"
    assert text_of_code("swizzp") == "set white in z zero please"


@pytest.mark.parametrize("code", ["", "lbax4", "lbaw4n", "xbax4n", "lbax4nn"])
def test_other_names_are_refused(code: str) -> None:
    with pytest.raises(GridError, match=f"file name '{code}' is not a GRID code"):
        text_of_code(code)


def test_align_times_are_seconds(tmp_path: Path) -> None:
    path = tmp_path / "a.align"
    path.write_text(ALIGN)
    words = read_align(path)
    assert words[1].word == "bin" and (words[1].start_s, words[1].end_s) == (0.4, 0.6)


@pytest.mark.parametrize("text", ["", "0 10 bin\n5 20 blue\n", "10 5 bin\n", "0 x bin\n", "0 9\n"])
def test_bad_align_files_name_file_and_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.align"
    path.write_text(text)
    with pytest.raises(GridError, match="a.align:"):
        read_align(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header lacks utterance_id"),
        ("utterance_id\tsplit\n", "header lacks text"),
        ("utterance_id\tsplit\ttext\ns1/a\tdev\tx\n", ":2: split 'dev' of s1/a"),
        ("utterance_id\tsplit\ttext\ns1/a\ttest\tx\ns1/a\ttrain\tx\n", ":3: s1/a is listed twice"),
    ],
)
def test_bad_splits_lists_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "splits.tsv"
    path.write_text(text)
    with pytest.raises(GridError, match=message):
        read_splits(path)


def test_hash_split_is_fixed_and_about_80_10_10() -> None:
    splits = [split_of_id(f"s1/{i}") for i in range(2000)]
    assert splits == [split_of_id(f"s1/{i}") for i in range(2000)]
    assert abs(splits.count("train") - 1600) < 80
    assert abs(splits.count("valid") - 200) < 60 and abs(splits.count("test") - 200) < 60


def test_files_of_both_layouts_and_unlisted_ones(tmp_path: Path) -> None:
    for name in ("s1/video/bbaf3s.mp4", "others/lbax4n.mpg", "s1/align/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files, skipped = find_files(tmp_path)
    assert [file.utterance_id for file in files] == ["others/lbax4n", "s1/bbaf3s"]
    assert skipped == [] and files[0].align is None
    listed = tmp_path / "splits.tsv"
    listed.write_text("utterance_id\tsplit\ttext\ns1/bbaf3s\ttest\tx\ns1/gone\ttest\tx\n")
    files, skipped = find_files(tmp_path, listed)
    assert [file.split for file in files] == ["test"]
    assert {row["utterance_id"] for row in skipped} == {"others/lbax4n", "s1/gone"}
    (tmp_path / "s1/bbaf3s.mpg").touch()
    with pytest.raises(GridError, match="utterance id s1/bbaf3s is also"):
        find_files(tmp_path)


def test_no_clips_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(GridError, match=r"no clips found; expected <speaker>/video/"):
        find_files(tmp_path)


def test_audio_is_fitted_by_at_most_a_frame_and_an_aac_block() -> None:
    assert len(fit_audio(np.ones(1900, np.float32), 3, "x")) == 1920
    assert len(fit_audio(np.ones(2560 + 1024, np.float32), 3, "x")) == 1920
    with pytest.raises(CorpusError, match="x: 3 video frames .* need 1920 .* found 3585"):
        fit_audio(np.ones(3585, np.float32), 3, "x")
    with pytest.raises(CorpusError, match="found 1279"):
        fit_audio(np.ones(1279, np.float32), 3, "x")


@pytest.mark.usefixtures("stand_in")
def test_preparation_end_to_end(tmp_path: Path) -> None:
    root = corpus(tmp_path / "grid", ["bbaf3s", "lbax4n"])
    (root / "s1/video/swiz3n.mp4").write_bytes(b"this is not a film")
    listed = tmp_path / "splits.tsv"
    listed.write_text(
        "utterance_id\tsplit\ttext\ns1/bbaf3s\ttrain\tbin blue at f three soon\n"
        "s1/lbax4n\ttest\tlay blue at x four now\ns1/swiz3n\ttrain\tset white in z three now\n"
    )
    run(root, tmp_path / "out", splits_tsv=listed)
    train = decode_row(load_prepared(tmp_path / "out", "train")[0])
    assert train.utterance_id == "s1/bbaf3s" and train.text == "bin blue at f three soon"
    assert [word.word for word in train.words] == "bin blue at f three soon".split()
    assert train.num_samples == 640 * train.num_frames == 16000 and train.video_valid.all()
    np.testing.assert_allclose(train.lips, train.vertices[:, LIPS_OUTER + LIPS_INNER], atol=0.01)
    test = decode_row(load_prepared(tmp_path / "out", "test")[0])
    assert test.words == () and test.text == "lay blue at x four now"
    [row] = read_jsonl(tmp_path / "out/skipped.jsonl")
    assert row["utterance_id"] == "s1/swiz3n" and "not readable as video" in row["reason"]
    info = load_info(tmp_path / "out")
    assert info["counts"]["skipped"] == 1 and info["speaker_dependent"] is True
    faces = load_face_templates(tmp_path / "out")
    assert faces.topology == "mediapipe-478" and faces.templates["s1"].shape == (478, 3)
    eyes = faces.templates["s1"][[33, 263]]
    np.testing.assert_allclose(eyes, [[-43, 0, 0], [43, 0, 0]], atol=0.01)
    assert not (tmp_path / "out/.clips").exists()


@pytest.mark.usefixtures("stand_in")
def test_a_stopped_run_continues_and_a_finished_one_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus(tmp_path / "grid", ["bbaf3s", "lbax4n"])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(talking_faces, "_finish", die)
        run(root, tmp_path / "out")
    assert StandInTracker.calls == 2
    assert any("2 of them tracked before" in line for line in run(root, tmp_path / "out"))
    assert "prepared already" in run(root, tmp_path / "out")[-1]
    assert StandInTracker.calls == 2
    with pytest.raises(CorpusError, match="is finished with config .* give another folder"):
        run(root, tmp_path / "out", config=PrepareConfig(max_missing_frames=3))


@pytest.mark.usefixtures("stand_in")
def test_disagreeing_texts_are_skipped_with_the_reason(tmp_path: Path) -> None:
    root = corpus(tmp_path / "grid", ["bbaf3s", "lbax4n"])
    (root / "s1/align/lbax4n.align").write_text(ALIGN)
    run(root, tmp_path / "out")
    [row] = read_jsonl(tmp_path / "out/skipped.jsonl")
    assert (
        "says 'bin blue at f three soon'; its file name says 'lay blue at x four now'"
        in (row["reason"])
    )


@pytest.mark.usefixtures("stand_in")
def test_nothing_usable_names_the_first_reason(tmp_path: Path) -> None:
    film(tmp_path / "grid/s1/video/bbaf3s.mp4", audio=False)
    with pytest.raises(CorpusError, match="none of 1 clips is usable.*has no audio stream"):
        run(tmp_path / "grid", tmp_path / "out")
    with pytest.raises(CorpusError, match="num_processes is 0"):
        run(tmp_path / "grid", tmp_path / "out", num_processes=0)


@pytest.mark.usefixtures("stand_in")
def test_limit_leaves_the_rest_listed(tmp_path: Path) -> None:
    root = corpus(tmp_path / "grid", ["bbaf3s", "lbax4n", "lbax5n"])
    listed = tmp_path / "splits.tsv"
    texts = {"bbaf3s": "bin blue at f three soon", "lbax4n": "lay blue at x four now"}
    rows = [f"s1/{code}\ttrain\t{text_of_code(code)}" for code in (*texts, "lbax5n")]
    listed.write_text("\n".join(["utterance_id\tsplit\ttext", *rows]))
    run(root, tmp_path / "out", splits_tsv=listed, config=PrepareConfig(limit=2))
    assert len(load_prepared(tmp_path / "out", "train")) == 2
    [row] = read_jsonl(tmp_path / "out/skipped.jsonl")
    assert row["reason"] == "beyond the limit of 2 clips a split"


def prepared(path: Path, config: PrepareConfig = PrepareConfig()) -> dict[str, np.ndarray]:  # noqa: B008
    tracker: Any = StandInTracker()
    return prepare_clip(path, tracker, config)


def test_missing_frames_are_marked_and_short_gaps_keep_their_pictures(tmp_path: Path) -> None:
    dim = [30, 30, 32]  # no jump of 15 grey levels, below the stand-in's 40
    path = film(tmp_path / "a.mp4", [44] * 10 + dim + [44] * 10 + [32] * 4)
    arrays = prepared(path)
    np.testing.assert_array_equal(
        np.flatnonzero(~arrays["video_valid"]), [10, 11, 12, *range(23, 27)]
    )
    empty = ~arrays["mouth_crops"].any((1, 2))
    np.testing.assert_array_equal(np.flatnonzero(empty), range(23, 27))
    assert np.isfinite(arrays["vertices"]).all()
    none_bridged = prepared(path, PrepareConfig(max_missing_frames=0))
    assert not none_bridged["mouth_crops"][10:13].any()


def test_too_few_valid_frames_is_a_reason_with_figures(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [30] * 15 + [44] * 10)
    with pytest.raises(CorpusError, match="a face in only 10 of 25 frames.*min_valid_fraction"):
        prepared(path)
    assert prepared(path, PrepareConfig(min_valid_fraction=0.0))["video_valid"].sum() == 10


def test_bad_media_have_one_line_reasons(tmp_path: Path) -> None:
    good = film(tmp_path / "good.mp4").read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "cut.mp4").write_bytes(good[: len(good) // 2])
    film(tmp_path / "black.mp4", [0] * 25)
    expected = {
        "none.mp4": (MediaError, "no such file"),
        "empty.mp4": (MediaError, "0 bytes"),
        "cut.mp4": (MediaError, "truncated"),
        "black.mp4": (CorpusError, "no face found in any of 25 frames"),
    }
    for name, (kind, message) in expected.items():
        with pytest.raises(kind, match=f"{name}: .*{message}") as caught:
            prepared(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(30), Fraction(50)])
def test_other_frame_rates_are_resampled_by_time(tmp_path: Path, rate: Fraction) -> None:
    path, fps = tmp_path / "a.mp4", cast(Any, rate)
    write_video(path, pictures([128] * round(2 * rate)), fps, np.zeros(32000, np.float32))
    arrays = prepared(path)
    assert len(arrays["vertices"]) == 50 and len(arrays["audio"]) == 32000


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"max_missing_frames": -1}, "max_missing_frames is -1"),
        ({"min_valid_fraction": 1.5}, "min_valid_fraction is 1.5"),
        ({"limit": 0}, "limit is 0"),
    ],
)
def test_impossible_settings_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        PrepareConfig(**option)


@pytest.mark.real_data
def test_a_damaged_clip_keeps_its_time_and_marks_its_start(avsr_data: Path) -> None:
    pytest.importorskip("mediapipe")
    with FaceTracker(avsr_data / "mediapipe_face/face_landmarker.task") as tracker:
        arrays = prepare_clip(avsr_data / "grid/s1/video/sran9s.mp4", tracker, PrepareConfig())
    np.testing.assert_array_equal(np.flatnonzero(~arrays["video_valid"]), range(12))
    assert not arrays["mouth_crops"][:12].any() and arrays["mouth_crops"][12:].any((1, 2)).all()
    assert arrays["untrusted"] == 3  # faces "found" in the broken pictures
    gap = np.linalg.norm(arrays["vertices"][12:, 13] - arrays["vertices"][12:, 14], axis=-1)
    assert gap.min() < 1.5 and 8 < gap.max() < 25  # mm: a talking mouth closes and opens
