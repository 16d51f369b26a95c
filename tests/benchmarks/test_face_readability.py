"""The benchmark of faces on GRID: how it lays a corpus out, and what it publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.data.manifest import FaceTemplates, PreparedUtterance, encode_utterance, save_prepared
from avsr.files import read_json
from avsr.schema import PhoneTime, WordTime
from benchmarks.face_readability import lay_out, main, published, text_of
from learn2talk.face_benchmark.inputs import files_of, read_system, read_texts
from learn2talk.files import load_motion
from tests.learn2talk.face_benchmark.talkers import REFERENCES, sound, spoken


def utterance(name: str, seed: int) -> PreparedUtterance:
    motion = spoken(REFERENCES[seed], seed)
    frames = len(motion.vertices)
    return PreparedUtterance(
        utterance_id=name,
        speaker_id="s1",
        text=REFERENCES[seed],
        audio=sound(REFERENCES[seed], seed),
        mouth_crops=np.zeros((frames, 96, 96), np.uint8),
        lips=np.ascontiguousarray(motion.lips),
        vertices=motion.vertices,
        video_valid=np.ones(frames, bool),
        words=(WordTime("bin", 0.0, 0.4),),
        phones=(PhoneTime("b", 0.0, 0.1),) if seed else (),
        num_frames=frames,
        num_samples=640 * frames,
        source="tests",
    )


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    face = spoken("bin", 0).template
    rows = [encode_utterance(utterance(f"s1/u{seed}", seed)) for seed in range(3)]
    faces = FaceTemplates(face.topology, face.triangles, dict(face.regions), {"s1": face.vertices})
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "valid": [], "test": rows}
    return save_prepared(tmp_path / "prepared", splits, faces, {"name": "grid"})


def test_a_corpus_is_laid_out_as_anybody_has_it(prepared: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    found = lay_out(prepared, tmp_path, "test", 2, work)
    assert found == {"motions": [work / "bundled_student"], "videos": [work / "real_films"]}
    assert list(read_texts(work / "text.tsv")) == ["s1/u0", "s1/u1"]
    assert list(files_of(work / "audio", (".wav",), "sounds")) == ["s1__u0", "s1__u1"]
    assert list(read_system(work / "bundled_student", "motion").files) == ["s1__u0", "s1__u1"]
    motion, told = load_motion(work / "bundled_student" / "s1__u0.npz")
    assert len(motion.vertices) == 60 and len(told["student"]["lip_reader_sha256"]) == 64
    headers = [(work / "phones" / f"s1__u{k}.tsv").read_text().split("\t")[0] for k in (0, 1)]
    assert headers == ["word", "phone"]
    film = work / "real_films" / "s1__u0.mp4"
    assert film.is_symlink() and film.readlink().parts[-4:] == ("grid", "s1", "video", "u0.mp4")
    assert read_json(work / "bundled_student" / "motion.json")["source"].startswith("the bundled")
    before = (work / "tracked" / "s1__u0.npz").stat().st_mtime_ns
    lay_out(prepared, tmp_path, "test", 2, work)
    assert (work / "tracked" / "s1__u0.npz").stat().st_mtime_ns == before


def test_without_a_corpus_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path / "gone", out=tmp_path / "out")
    assert "no prepared GRID with motion there" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_what_is_published_names_no_folder() -> None:
    folder = "/" + "srv/somebody/readability.py"
    report = {
        "command": f"python {folder}",
        "readings": {"bundled": {"confusion": {"truth": {}, "mean_face": {}}}},
    }
    found = published(report, 61.23)
    assert found["command"] == "python readability.py" and found["seconds"] == 61.2
    assert list(found["readings"]["bundled"]["confusion"]) == ["truth"]


def test_the_page_says_what_grid_is() -> None:
    report = {
        "seconds": 120.0,
        "utterances": 2,
        "speakers": 1,
        "clustered_by": "utterance",
        "controls_note": "controls are made from the truth",
        "readings": {},
        "faces": [],
        "systems": {},
        "motion": {"systems": {}, "ranking": {}, "offset_of_shifts": {}},
        "left_out": [],
        "judge": None,
        "command": "python",
        "commit": "0",
    }
    text = text_of(report)
    assert text.startswith(
        "# Readability of talking faces\n\nGRID, test sentences of **one speaker"
    )
    assert "Made in 2.0 minutes" in text and "Controls are made from the truth." in text
