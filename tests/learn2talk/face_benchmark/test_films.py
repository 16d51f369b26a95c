"""Films as systems: pictures and motion are read; a film without a face reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.files import read_jsonl, write_video, write_wav
from avsr.pretrained.mouth_crops import MEAN_FACE
from avsr.tracking import FaceTrack
from learn2talk.articulation import CONTROLS, animate_head
from learn2talk.drawing import face_camera, render_frames
from learn2talk.face_benchmark import films, run
from learn2talk.face_benchmark.films import Alignment, load_film, track_film
from learn2talk.fitting.procedural import head_model
from learn2talk.head import build_head
from tests.learn2talk.face_benchmark.conftest import Benchmark
from tests.learn2talk.face_benchmark.talkers import World, opening, sound
from tests.learn2talk.landmarks import seen_vertices

TEXTS = {"u0": "bin now set lay", "u1": "set bin now lay bin", "u2": "lay set now bin set now"}
SIZE = 384
SHUT = 3  # frames at the start: where the neutral face is seen


def curves(text: str, seed: int) -> np.ndarray:
    found = np.zeros((10 * len(text.split()), len(CONTROLS)))
    found[:, CONTROLS.index("jaw")] = opening(text, seed)
    found[:SHUT] = 0.0
    return found


@dataclass(frozen=True)
class KnownLandmarks:
    """In place of a tracker: a film is known by its length, and a dark one has no face."""

    landmarks: dict[int, np.ndarray]

    def track(self, frames: np.ndarray) -> FaceTrack:
        there = frames.mean(axis=(1, 2, 3)) > 30
        marks = np.where(there[:, None, None], self.landmarks[len(frames)], np.nan)
        return FaceTrack(marks.astype(np.float32), there, 1, "")


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, KnownLandmarks]:
    """Films of the built-in head; the last one of the folder "dark" is dark."""
    world = World(tmp_path_factory.mktemp("filmed"))
    for folder in (world.audio, world.root / "films", world.root / "dark"):
        folder.mkdir(parents=True)
    head, marks = build_head(), {}
    seen, camera = seen_vertices(head_model()), face_camera(head.template)
    per_mm = SIZE / camera.mm_per_picture
    lines = ["utterance_id\ttext"]
    for seed, (name, text) in enumerate(TEXTS.items()):
        vertices = animate_head(head, curves(text, seed))
        pictures = list(render_frames(vertices, head.template, size=SIZE))
        places = (vertices[:, seen] - (*camera.centre, 0.0)) * (per_mm, -per_mm, -per_mm)
        marks[len(pictures)] = places + (SIZE / 2, SIZE / 2, 0.0)
        write_wav(world.audio / f"{name}.wav", sound(text, seed))
        write_video(world.root / "films" / f"{name}.mp4", pictures)
        dark = [np.zeros_like(one) for one in pictures] if name == "u2" else pictures
        write_video(world.root / "dark" / f"{name}.mp4", dark)
        lines.append(f"{name}\t{text}")
    world.text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return world, KnownLandmarks(marks)


@pytest.fixture
def tracker(
    filmed: tuple[World, KnownLandmarks], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What a benchmark of the films is given."""
    monkeypatch.setattr(films, "_tracker", lambda model: filmed[1])
    monkeypatch.setattr(run, "check_landmarker", lambda model: None)
    return {"motions": (), "landmarker_model": Path("model.task"), "bundled_judge": False}


def test_films_and_their_motion_are_read(
    benchmark: Benchmark, filmed: tuple[World, KnownLandmarks], tracker: dict[str, Any]
) -> None:
    world = filmed[0]
    found = benchmark(world, truth=world.root / "films", videos=(world.root / "dark",), **tracker)
    assert found["faces"][:4] == ["truth", "truth@film", "dark", "dark@film"]
    wer = {
        face: one["wer"]["value"] for face, one in found["readings"]["bundled"]["systems"].items()
    }
    assert wer["truth"] <= 0.3 and wer["still_face"] >= 0.6
    # Two of three films are the same, and the third counts as nothing read.
    lost, said = 6, 15
    assert wer["dark@film"] >= lost / said
    assert found["no_face"] == {"truth": [], "dark": ["u2"]}
    assert "truth@film" not in found["motion"]["systems"]
    own = found["motion"]["systems"]["dark"]["lve_mm2"]
    assert own["utterances"] == 2 and own["value"] == pytest.approx(
        0.0, abs=0.1
    )  # its neutral face lacks a film


def test_a_film_without_a_face_is_all_deletions(
    benchmark: Benchmark,
    filmed: tuple[World, KnownLandmarks],
    tracker: dict[str, Any],
    tmp_path: Path,
) -> None:
    world = filmed[0]
    benchmark(world, videos=(world.root / "dark",), **tracker)
    rows = {
        (row["system"], row["utterance_id"]): row["hypothesis"]
        for row in read_jsonl(tmp_path / "out" / "hypotheses.jsonl")
    }
    assert rows["dark", "u2"] == rows["dark@film", "u2"] == rows["shifted_+1", "u2"] == ""
    assert rows["dark", "u0"] != ""
    assert rows["other_utterance", "u1"] == ""  # the motion of u2, which has none
    page = (tmp_path / "out" / "readability.md").read_text(encoding="utf-8")
    assert "no face in the film of u2 by dark: counted as nothing read" in page


def test_a_folder_of_films_without_any_face_is_refused(
    benchmark: Benchmark,
    filmed: tuple[World, KnownLandmarks],
    tracker: dict[str, Any],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "black"
    folder.mkdir()
    for name, text in TEXTS.items():
        frames = [np.zeros((64, 64, 3), np.uint8)] * (10 * len(text.split()))
        write_video(folder / f"{name}.mp4", frames)
    with pytest.raises(ValueError, match="no face found in any of 3 films"):
        benchmark(filmed[0], videos=(folder,), **tracker)


def test_a_film_is_tracked_once(
    filmed: tuple[World, KnownLandmarks], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[int] = []

    class Counting:
        def track(self, frames: np.ndarray) -> FaceTrack:
            calls.append(len(frames))
            return filmed[1].track(frames)

    monkeypatch.setattr(films, "_tracker", lambda model: Counting())
    film, kept = filmed[0].root / "films" / "u0.mp4", tmp_path / "u0.npz"
    for _ in range(2):
        track_film(film, kept, Path("model.task"), {})
    assert calls == [40]
    found = load_film(kept)
    assert found.vertices.shape == (40, 478, 3) and found.valid.all()
    assert set(found.crops) == {"ours"} and found.crops["ours"].shape == (40, 96, 96)
    aligned = {"abc": Alignment("av_hubert", tuple(MEAN_FACE.items()))}
    track_film(film, kept, Path("model.task"), aligned)  # another kind of crops is wanted
    crops = load_film(kept).crops
    assert calls == [40, 40] and set(crops) == {"ours", "abc"}
    assert crops["abc"].shape == (40, 96, 96) and crops["abc"].std() > 1


@pytest.mark.real_data
@pytest.mark.slow
def test_real_films(benchmark: Benchmark, avsr_data: Path, tmp_path: Path) -> None:
    """Two films of GRID through MediaPipe: every figure of synchrony is there."""
    folder, audio = tmp_path / "grid", tmp_path / "sound"
    folder.mkdir()
    audio.mkdir()
    codes = {"bbaf3s": "bin blue at f three soon", "lbax4n": "lay blue at x four now"}
    places = {"bbaf3s": "s1/video/bbaf3s.mp4", "lbax4n": "others/lbax4n.mpg"}
    lines = ["utterance_id\ttext"]
    for code, text in codes.items():
        path = avsr_data / "grid" / places[code]
        (folder / f"{code}{path.suffix}").symlink_to(path)
        (audio / f"{code}{path.suffix}").symlink_to(path)
        lines.append(f"{code}\t{text}")
    (tmp_path / "text.tsv").write_text("\n".join(lines) + "\n")
    world = World(tmp_path)
    (tmp_path / "audio").symlink_to(audio)
    model = avsr_data / "mediapipe_face" / "face_landmarker.task"
    found = benchmark(world, motions=(), videos=(folder,), landmarker_model=model)
    assert found["no_face"] == {"grid": []}
    assert found["motion"]["systems"]["grid"]["lse_d"]["utterances"] == 2
