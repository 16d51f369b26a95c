"""Each control fails where it should, under a reader and a judge that are right by construction."""

from __future__ import annotations

from typing import Any

import pytest

from learn2talk.evaluate.faces import SHIFTS
from learn2talk.face_benchmark import measuring, run
from learn2talk.face_benchmark.inputs import CONTROLS, SHIFTED
from learn2talk.face_benchmark.run import FaceBenchmark, benchmark_faces
from tests.learn2talk.face_benchmark.conftest import Benchmark, by_construction
from tests.learn2talk.face_benchmark.talkers import World, height_reader, loudness_judge

CHANCE = 0.25  # of a word of four


@pytest.fixture(scope="module")
def report(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One report for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("controls")
        by_construction(patch, folder / "networks")
        asked = FaceBenchmark(
            audio=shared_world.audio,
            text=shared_world.text,
            out=folder / "out",
            motions=(shared_world.mine,),
            truth=shared_world.truth,
            phones=shared_world.phones,
        )
        return benchmark_faces(asked, say=lambda line: None)


def wer(report: dict[str, Any], face: str) -> float:
    value: float = report["readings"]["bundled"]["systems"][face]["wer"]["value"]
    return value


def motion(report: dict[str, Any], face: str, name: str) -> Any:
    return report["motion"]["systems"][face][name]


def test_every_face_is_in_the_report(report: dict[str, Any]) -> None:
    shifts = [f"{SHIFTED}{shift:+d}" for shift in SHIFTS]
    assert report["faces"] == ["truth", "mine", *CONTROLS, *shifts]
    assert report["utterances"] == 6 and report["texts_that_no_system_speaks"] == 1
    assert report["controls_of"] == "truth" and report["clustered_by"] == "utterance"


def test_the_truth_is_read_and_a_still_or_mean_face_no_better_than_by_chance(
    report: dict[str, Any],
) -> None:
    assert wer(report, "truth") < 0.05
    for face in ("still_face", "mean_face"):
        assert wer(report, face) >= 1 - CHANCE - 0.1
    assert wer(report, "mine") > 0.5  # half as wide open is another word


def test_another_utterance_is_read_as_what_it_is(report: dict[str, Any]) -> None:
    assert wer(report, "other_utterance") > 0.5
    found = report["readings"]["bundled"]
    assert found["minus"]["truth"]["other_utterance"]["wer"]["high"] < 0
    for rate in ("cer", "wer", "ver", "vwer"):
        assert found["ranking"][rate]["ranks_controls"] is True


def test_a_shift_is_the_offset_that_the_judge_finds(report: dict[str, Any]) -> None:
    assert motion(report, "truth", "offset_ms")["value"] == pytest.approx(0.0)
    for shift in SHIFTS:
        name = f"{SHIFTED}{shift:+d}"
        assert motion(report, name, "offset_ms")["value"] == pytest.approx(-40.0 * shift)
        told = report["motion"]["offset_of_shifts"][name]
        assert told["expected_ms"] == pytest.approx(told["found_ms"])
    assert report["motion"]["ranking"]["offset_absolute_ms"]["ranks_controls"] is not None


def test_a_still_face_is_in_time_with_nothing(report: dict[str, Any]) -> None:
    true, still = (motion(report, face, "lse_c")["value"] for face in ("truth", "still_face"))
    assert true > 0.3 and still < 0.1 * true
    assert motion(report, "truth", "lse_d")["value"] < motion(report, "mean_face", "lse_d")["value"]
    assert motion(report, "mine", "lse_c")["value"] == pytest.approx(true, rel=0.2)  # it mumbles


def test_errors_against_the_truth(report: dict[str, Any]) -> None:
    assert motion(report, "truth", "lve_mm2")["value"] == 0.0
    half, still = (motion(report, face, "mve_mm")["value"] for face in ("mine", "still_face"))
    assert half == pytest.approx(still / 2, rel=1e-3)
    assert motion(report, f"{SHIFTED}+6", "lve_mm2")["value"] > 0.0


def test_closures_count_where_phones_are_known(report: dict[str, Any]) -> None:
    """The mouth is never shut at m and p, but for the still face, which always is."""
    assert motion(report, "still_face", "closure_recall")["value"] == 1.0
    assert motion(report, "truth", "closure_recall")["utterances"] == 6


def test_without_a_truth_the_first_system_is_shifted(
    benchmark: Benchmark, shared_world: World
) -> None:
    found = benchmark(shared_world, motions=(shared_world.mine, shared_world.truth))
    assert found["controls_of"] == "mine"
    assert "no truth was given" in found["controls_note"]
    lve = found["motion"]["systems"]["mine"]["lve_mm2"]
    assert lve["value"] is None and lve["reason"] == "no truth was given"
    closures = found["motion"]["systems"]["mine"]["closure_recall"]
    assert closures["value"] is None and closures["reason"] == "no phone times are known"
    shifted = found["motion"]["systems"][f"{SHIFTED}+3"]["offset_ms"]["value"]
    assert shifted == pytest.approx(-120.0)
    ranked = found["readings"]["bundled"]["ranking"]["wer"]
    assert ranked["ranks_controls"] is False and "system 'mine'" in ranked["words"]


def test_without_a_judge_synchrony_has_a_reason(benchmark: Benchmark, shared_world: World) -> None:
    found = benchmark(shared_world, bundled_judge=False)
    lse = found["motion"]["systems"]["mine"]["lse_d"]
    assert lse["value"] is None and lse["reason"] == "no judge was given"
    assert found["judge"] is None


def test_several_speakers_are_the_clusters(
    monkeypatch: pytest.MonkeyPatch, benchmark: Benchmark, world: World
) -> None:
    lines = world.text.read_text().splitlines()
    spread = [line.replace("\ts0", f"\ts{row % 3}") for row, line in enumerate(lines)]
    world.text.write_text("\n".join(spread) + "\n")
    found = benchmark(world, truth=world.truth, seed=3)
    assert found["clustered_by"] == "speaker" and found["speakers"] == 3 and found["seed"] == 3


def test_what_was_read_is_kept(
    monkeypatch: pytest.MonkeyPatch, benchmark: Benchmark, world: World
) -> None:
    """A second run reads nothing; a file that has changed is read again, and only it."""
    asked: list[int] = []

    def counted(path: Any, name: str | None = None) -> Any:
        from dataclasses import replace

        reader = height_reader(path, name)

        def read(mouths: Any, valid: Any) -> list[str]:
            asked.append(len(mouths))
            return reader.read(mouths, valid)

        return replace(reader, read=read)

    for module in (run, measuring):
        monkeypatch.setattr(module, "load_lip_reader", counted)
        monkeypatch.setattr(module, "load_sync_expert", loudness_judge)
    first = benchmark(world, truth=world.truth)
    assert sum(asked) == 6 * len(first["faces"])
    asked.clear()
    again = benchmark(world, truth=world.truth)
    assert asked == []
    assert again["readings"] == first["readings"] and again["motion"] == first["motion"]
    changed = world.mine / "u2.npz"
    changed.write_bytes((world.truth / "u2.npz").read_bytes())
    benchmark(world, truth=world.truth)
    assert asked == [1]
