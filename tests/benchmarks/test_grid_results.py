"""The published page of a made-up run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avsr.files import read_json, write_json, write_jsonl
from benchmarks import grid_results
from benchmarks.published.aims import Aim, aims_of
from benchmarks.published.page import page, recipe_line
from benchmarks.published.paths import scrubbed
from tests.benchmarks.conftest import make_run


def by_start(document: dict, start: str) -> list[Aim]:
    return [one for one in aims_of(document) if one.aim.startswith(start)]


def test_clean_aims_are_judged_by_their_rate(made_up_run: Path) -> None:
    document = grid_results.collect(made_up_run)
    (clean,) = by_start(document, "clean A at most 5 %")
    assert (clean.value, clean.met) == (0.0, True)
    (video,) = by_start(document, "V at most 20 %")
    assert video.value == pytest.approx(25.0)
    assert video.met is False
    assert video.off == pytest.approx(5.0)


def test_half_the_errors_is_judged_against_each_audio_network(made_up_run: Path) -> None:
    against_separate, against_same = by_start(grid_results.collect(made_up_run), "at \u22125 dB")
    assert "babble_4" in against_separate.of
    assert against_separate.value == pytest.approx(4 / 8)
    assert against_separate.met is True
    assert against_same.value == pytest.approx(4 / 6)
    assert against_same.met is False
    assert against_same.off == pytest.approx(4 / 6 - 0.5)


def test_a_large_p_misses_the_aim_whatever_the_ratio() -> None:
    one = Aim("half", "of", "ratio", 0.5, 0.4, p_value=0.03, p_below=0.01)
    assert one.met is False
    assert Aim("half", "of", "ratio", 0.5, 0.4, p_value=0.009, p_below=0.01).met is True
    assert Aim("half", "of", "ratio", 0.5, 0.4, p_below=0.01).met is None


def test_not_worse_within_the_interval_looks_at_its_lower_end() -> None:
    def difference(low: float) -> Aim:
        return Aim("not worse", "of", "points", 0.0, 2.0, low, 4.0, judged="low")

    assert difference(-0.1).met is True
    assert difference(0.0).met is True
    assert difference(0.1).met is False


def test_auc_says_which_windows_and_the_shortest_are_single(made_up_run: Path) -> None:
    every, speech, clips = by_start(grid_results.collect(made_up_run), "SyncNet3D")
    assert [one.value for one in (every, speech, clips)] == [0.88, 0.93, 1.0]
    assert [one.met for one in (every, speech, clips)] == [False, True, True]
    assert every.off == pytest.approx(0.02)
    assert "0.20 s, all" in every.of
    assert "inside speech" in speech.of
    assert "75% of clips within 1 frame" in every.note


def test_student_needs_an_interval_clear_of_zero(made_up_run: Path) -> None:
    mean_face, other = by_start(grid_results.collect(made_up_run), "student beats")
    assert mean_face.met is False
    assert mean_face.off == pytest.approx(0.05)
    assert other.met is True


def test_time_is_the_sum_of_the_stages_on_two_cores(made_up_run: Path, tmp_path: Path) -> None:
    (time,) = by_start(grid_results.collect(made_up_run), "whole recipe")
    assert time.value == pytest.approx(6 * 600 / 3600)
    assert time.met is True
    (many,) = by_start(grid_results.collect(make_run(tmp_path / "big", cores=64)), "whole recipe")
    assert many.met is None
    (made_up_run / "decode.seconds.json").unlink()
    (unknown,) = by_start(grid_results.collect(made_up_run), "whole recipe")
    assert unknown.met is None
    assert "decode" in unknown.note


def test_a_resumed_training_counts_all_its_legs(made_up_run: Path) -> None:
    legs = [{"update": n, "seconds": s} for n, s in enumerate((10.0, 900.0, 5.0, 700.0))]
    write_jsonl(made_up_run / "audio" / "metrics.jsonl", legs)
    assert grid_results.collect(made_up_run)["durations_s"]["audio"] == 1600.0


def test_what_was_not_measured_is_said(made_up_run: Path) -> None:
    (made_up_run / "motion.json").unlink()
    results = read_json(made_up_run / "results.json")
    for part in ("rows", "summaries"):
        results[part] = [row for row in results[part] if row["modality"] != "video"]
    results["comparisons"] = []
    write_json(made_up_run / "results.json", results)
    document = grid_results.collect(made_up_run)
    assert [one.met for one in aims_of(document)] == [True, *[None] * 8, True]
    assert page(document).count("not measured") >= 6


def test_synthetic_is_labelled_and_leaves_grids_aims_out(tmp_path: Path) -> None:
    document = grid_results.collect(make_run(tmp_path, synthetic=True))
    assert {one.unit for one in aims_of(document)} == {"mm"}
    text = page(document)
    assert "Synthetic" in text
    assert "aims for GRID do not apply" in text
    assert "at most 5 %" not in text
    assert "synthetic: WER clean" in recipe_line(document, "synthetic", "made up")


def test_page_is_made_from_the_json_alone_and_holds_the_figures(
    made_up_run: Path, tmp_path: Path
) -> None:
    page_file, figures = tmp_path / "results.md", tmp_path / "grid.json"
    grid_results.main(made_up_run, page_file, figures, notes=("Because it is made up.",))
    text = page_file.read_text(encoding="utf-8")
    assert page(json.loads(figures.read_text(encoding="utf-8"))) == text
    for part in (
        "| V at most 20 % WER | V: real mouth crops | 25.0 % | [25.0, 25.0] | missed by 5.0 % |",
        "Because it is made up.",
        "0.67 |",
        "missed by 0.17",
        "| sum | 60.0 |",
        "`lost`",
        "Speaker-dependent",
    ):
        assert part in text


def test_no_path_of_the_machine_is_published(made_up_run: Path, tmp_path: Path) -> None:
    page_file, figures = tmp_path / "results.md", tmp_path / "grid.json"
    grid_results.main(made_up_run, page_file, figures)
    for path in (page_file, figures):
        text = path.read_text(encoding="utf-8")
        assert "somebody" not in text
        assert "recipes/grid/recipe.py report --out runs/one" in text
    document = read_json(figures)
    assert document["protocol"]["test_noises"]["babble_4"][0].startswith("9 files")
    assert document["protocol"]["training_noises"]["rain"] == ["noise/rain.flac"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "python /" + "opt/x/benchmarks/a.py --out=/" + "opt/x/y",
            "python benchmarks/a.py --out=y",
        ),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("runs/grid/results.json and 2.7/60", "runs/grid/results.json and 2.7/60"),
        ("A / B at 1/25000 s", "A / B at 1/25000 s"),
        ("'/" + "opt/x/runs/demo': gone", "'runs/demo': gone"),
    ],
)
def test_paths_are_cut(text: str, expected: str) -> None:
    assert scrubbed({"key": [text]}) == {"key": [expected]}


def test_without_a_run_one_line_and_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid_results.main(tmp_path / "none", tmp_path / "a.md", tmp_path / "a.json")
    assert capsys.readouterr().out.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_another_json_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "results.json", {"schema": "other"})
    with pytest.raises(ValueError, match="schema is 'other'"):
        grid_results.collect(tmp_path)


def test_a_row_of_the_recipes_table_is_replaced(repository: Path, made_up_run: Path) -> None:
    readme = (repository / "recipes" / "README.md").read_text(encoding="utf-8")
    line = recipe_line(grid_results.collect(made_up_run), "grid", "made up")
    filled = grid_results.fill_line(readme, "grid", line)
    assert filled.count("\n") == readme.count("\n")
    assert line in filled.splitlines()
    assert "babble_4 \u22125 dB: A 66.7 %, AV 33.3 %" in line
    head = next(one for one in readme.splitlines() if one.startswith("| recipe |"))
    assert line.count("|") == head.count("|")
    with pytest.raises(ValueError, match=r"no table row that starts with '\| \[gone\]"):
        grid_results.fill_line(readme, "gone", line)


def test_a_variant_can_be_held_against_what_it_measured(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "motion.json").unlink()
    document = grid_results.collect(run, measured_aims=True)
    assert document["aims"] and all(one["met"] is not None for one in document["aims"])
    assert "go on from one, that of another run, trained" in page(document)
    assert "## Aims" not in page({**document, "aims": []})
