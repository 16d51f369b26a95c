"""A benchmark that cannot be is refused in one line, before or while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avsr.files import read_json, write_json, write_wav
from learn2talk import default_judge, default_lip_reader
from learn2talk.cli import main
from learn2talk.face_benchmark.run import FaceBenchmark, benchmark_faces
from learn2talk.files import load_motion, save_motion
from learn2talk.schema import Motion
from tests.learn2talk.face_benchmark.conftest import Benchmark
from tests.learn2talk.face_benchmark.talkers import JUDGE_SHA256, READER_SHA256, World


def refused(benchmark: Benchmark, world: World, said: str, **more: Any) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        benchmark(world, **more)
    assert "\n" not in str(caught.value)


def test_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no face to measure"):
        FaceBenchmark(audio=tmp_path, text=tmp_path, out=tmp_path)
    with pytest.raises(ValueError, match="processes is 0"):
        FaceBenchmark(audio=tmp_path, text=tmp_path, out=tmp_path, motions=(tmp_path,), processes=0)


def test_a_sound_of_another_length(benchmark: Benchmark, world: World) -> None:
    write_wav(world.audio / "u1.wav", np.zeros(16000 * 2))
    refused(benchmark, world, r"u1\.npz: is 2\.40 s long at 25 fps, its sound 2\.00 s; they may")


def test_a_length_within_the_tolerance_is_cut_or_held(benchmark: Benchmark, world: World) -> None:
    write_wav(world.audio / "u1.wav", np.zeros(round(16000 * 2.25)))
    write_wav(world.audio / "u2.wav", np.zeros(round(16000 * 2.55)))
    found = benchmark(world, bundled_judge=False)
    assert found["utterances"] == 6 and found["length_tolerance_s"] == 0.2


def test_a_missing_file_is_counted_and_allowed(benchmark: Benchmark, world: World) -> None:
    (world.mine / "u0.npz").unlink()
    (world.audio / "u3.wav").unlink()
    refused(benchmark, world, "2 of 6 utterances lack something, 0 are allowed", truth=world.truth)
    found = benchmark(world, truth=world.truth, allow_missing=2, bundled_judge=False)
    assert found["utterances"] == 4
    assert [one["utterance_id"] for one in found["left_out"]] == ["u0", "u3"]


def test_a_reader_or_a_judge_that_was_a_loss(benchmark: Benchmark, world: World) -> None:
    motion, _ = load_motion(world.mine / "u3.npz")
    for sha256, name in ((READER_SHA256, "lip reader 'bundled'"), (JUDGE_SHA256, "the judge")):
        save_motion(world.mine / "u3.npz", motion, {"student": {"lip_reader_sha256": sha256}})
        refused(benchmark, world, f"was made by a network that {name} trained as a loss")
    save_motion(world.mine / "u3.npz", motion, {})
    write_json(world.mine / "motion.json", {"loss_sha256": [READER_SHA256]})
    refused(benchmark, world, "trained as a loss; a network that scores a face is never its loss")


def test_numbers_that_are_none(benchmark: Benchmark, world: World) -> None:
    motion, _ = load_motion(world.mine / "u3.npz")
    spoiled = motion.vertices.copy()
    spoiled[5, 9] = np.inf
    save_motion(world.mine / "u3.npz", Motion(spoiled, 25.0, motion.template), {})
    refused(benchmark, world, r"u3\.npz: vertex 9 of frame 5")


def test_another_schema(benchmark: Benchmark, world: World, tmp_path: Path) -> None:
    write_json(tmp_path / "out" / "readability.json", {"schema": "mine", "schema_version": 7})
    refused(
        benchmark, world, "is of schema mine version 7, this program writes learn2talk.face_rea"
    )


def test_films_need_the_tracker(benchmark: Benchmark, world: World, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for number in range(6):
        (films / f"u{number}.mp4").write_bytes(b"x")
    refused(benchmark, world, "films are tracked; give --landmarker-model", videos=(films,))


def test_no_reader(benchmark: Benchmark, world: World) -> None:
    refused(benchmark, world, "no lip reader; give --lip-readers", bundled_reader=False)


def test_two_readers_of_one_name(benchmark: Benchmark, world: World, tmp_path: Path) -> None:
    both = (tmp_path / "a" / "x.safetensors", tmp_path / "b" / "x.safetensors")
    refused(benchmark, world, "lip readers bundled, x, x share a name", lip_readers=both)


def test_the_bundled_networks_are_missed(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path
) -> None:
    monkeypatch.setattr(default_lip_reader, "FOLDER", tmp_path)
    monkeypatch.setattr(default_judge, "FOLDER", tmp_path)
    asked = FaceBenchmark(
        audio=world.audio, text=world.text, out=tmp_path / "out", motions=(world.mine,)
    )
    with pytest.raises(ValueError, match="bundled lip reader is missing"):
        benchmark_faces(asked)
    with pytest.raises(ValueError, match="bundled sync judge is missing"):
        default_judge.default_judge()


def test_the_command_takes_every_option(
    benchmark: Benchmark,
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The fixture's networks stand in for the bundled ones; two folders of arrays, and a truth."""
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    for path in sorted(world.truth.glob("*.npz")):
        np.save(arrays / f"{path.stem}.npy", load_motion(path)[0].vertices / 10.0)
    command = ["readability", "--motions", str(world.mine), str(arrays)]
    command += ["--audio", str(world.audio), "--text", str(world.text), "--truth", str(world.truth)]
    command += ["--out", str(tmp_path / "out"), "--phones", str(world.phones), "--seed", "4"]
    command += ["--allow-missing", "1", "--processes", "1", "--no-bundled-judge"]
    with pytest.raises(SystemExit):
        main([*command, "--unit", "mm", "--fps", "25", "--topology", "procedural_head"])
    said = capsys.readouterr().err
    assert "is its unit cm?" in said and said.count("\n") == 1
    main([*command, "--unit", "cm", "--fps", "25", "--topology", "procedural_head"])
    found = read_json(tmp_path / "out" / "readability.json")
    assert found["faces"][:3] == ["truth", "mine", "arrays"] and found["seed"] == 4
    same = found["motion"]["systems"]["arrays"]["lve_mm2"]["value"]
    assert same == pytest.approx(0.0, abs=1e-6)
    assert found["systems"]["arrays"]["said"]["unit"] == "cm"
