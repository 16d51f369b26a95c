"""The report's files: one truth in the JSON, and the others made from it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from avsr.files import read_json, read_jsonl
from learn2talk.face_benchmark.figures import reading_figures
from learn2talk.face_benchmark.outputs import SCHEMA, csv_rows, page, tex, tex_rows
from learn2talk.face_benchmark.run import FaceBenchmark, benchmark_faces
from learn2talk.metrics import draw_clusters
from tests.learn2talk.face_benchmark.conftest import by_construction
from tests.learn2talk.face_benchmark.talkers import READER_SHA256, World

FILES = {
    *("readability.json", "readability.md", "rows.csv", "rows.tex", "hypotheses.jsonl"),
    *("confusion_truth.png", "confusion_truth.svg", "confusion_mine.png", "confusion_mine.svg"),
}


@pytest.fixture(scope="module")
def made(
    shared_world: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """One report for all tests of this file."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        by_construction(patch, folder / "networks")
        asked = FaceBenchmark(
            audio=shared_world.audio,
            text=shared_world.text,
            out=folder / "out",
            motions=(shared_world.mine,),
            truth=shared_world.truth,
            bundled_judge=False,
        )
        report = benchmark_faces(asked, say=lambda line: None)
    return folder / "out", report


def test_every_file_is_there(made: tuple[Path, dict[str, Any]]) -> None:
    out, report = made
    assert {path.name for path in out.iterdir() if path.is_file()} == FILES
    kept = read_json(out / "readability.json")
    assert kept["schema"] == SCHEMA and kept["schema_version"] == 1
    assert kept["lip_readers"]["bundled"]["sha256"] == READER_SHA256
    assert {"command", "commit", "versions", "text_sha256", "drawing"} <= set(kept)
    assert page(kept) == (out / "readability.md").read_text(encoding="utf-8")
    assert csv_rows(kept) == (out / "rows.csv").read_text(encoding="utf-8")
    assert tex_rows(kept) == (out / "rows.tex").read_text(encoding="utf-8")


def test_what_was_read_makes_the_figures_again(made: tuple[Path, dict[str, Any]]) -> None:
    out, report = made
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_jsonl(out / "hypotheses.jsonl"):
        rows.setdefault(row["system"], []).append(row)
    names = [row["utterance_id"] for row in rows["truth"]]
    draws = draw_clusters(names, clustered_by="utterance", seed=0)
    again = reading_figures(rows, "truth", draws)
    assert again["systems"] == report["readings"]["bundled"]["systems"]
    assert again["confusion"] == report["readings"]["bundled"]["confusion"]


def test_csv_has_a_line_for_each_face(made: tuple[Path, dict[str, Any]]) -> None:
    _, report = made
    rows = list(csv.DictReader(io.StringIO(csv_rows(report))))
    assert [row["face"] for row in rows] == report["faces"]
    assert [row["control"] for row in rows[:3]] == ["0", "0", "1"]
    mine = report["readings"]["bundled"]["systems"]["mine"]["wer"]
    assert float(rows[1]["wer"]) == mine["value"] and float(rows[1]["wer_low"]) == mine["low"]
    assert rows[1]["lse_d"] == "" and rows[1]["closure_recall"] == ""


def test_latex_rows_are_whole_and_escaped(made: tuple[Path, dict[str, Any]]) -> None:
    _, report = made
    text = tex_rows(report)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(report["faces"])
    columns = rows[0].count("&")
    assert columns == 6 and all(row.count(" & ") == columns for row in rows)  # no LSE, no closures
    assert r"still\_face" in text and "still_face" not in text.replace(r"still\_face", "")
    assert text.count(r"\midrule") == 2 and text.endswith("\\bottomrule\n")
    assert tex(r"a_b & 5% \{x}~^#$") == (
        r"a\_b \& 5\% \textbackslash{}\{x\}\textasciitilde{}\textasciicircum{}\#\$"
    )


def test_a_page_says_what_has_no_value_and_why(made: tuple[Path, dict[str, Any]]) -> None:
    text = page(made[1])
    assert "- lse_d: no judge was given" in text
    assert "- closure_recall: no phone times are known" in text
    assert "A lip reader hears nothing: shifts in time are not ranked." in text
    assert "SPECTRE's variants" in text


def test_spectre_takes_means_of_utterances() -> None:
    """One word of two wrong, and one of one right: 25 % of utterances' rates, 1/3 of the words."""

    def rows(system: str, first: str) -> list[dict[str, Any]]:
        texts = (("u0", "bin set", first), ("u1", "bin", "bin"))
        return [
            {"utterance_id": name, "speaker_id": "s", "reference": said, "hypothesis": read}
            for name, said, read in texts
        ]

    faces = {name: rows(name, "bin set") for name in ("mean_face", "still_face", "other_utterance")}
    faces = {"truth": rows("truth", "bin lay"), **faces}
    draws = draw_clusters(["u0", "u1"], clustered_by="utterance", seed=0)
    found = reading_figures(faces, "truth", draws)["systems"]["truth"]
    assert found["spectre"]["wer"] == pytest.approx(0.25)
    assert found["wer"]["value"] == pytest.approx(1 / 3)
