"""The page "how to evaluate your own system in five minutes", done as it says."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from avsr.cli import main
from avsr.files import read_json, write_wav

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluate_your_system.md"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's test list, noise, and recogniser."""
    lines = ["utterance_id\tpath\ttext\tspeaker_id"]
    for number in range(4):
        generator = np.random.default_rng(number)
        write_wav(tmp_path / "wav" / f"c{number}.wav", 0.3 * generator.uniform(-1, 1, 12000))
        lines.append(f"clip_{number}\twav/c{number}.wav\tlay red {number}\ts{number % 2}")
    (tmp_path / "test.tsv").write_text("\n".join(lines) + "\n")
    write_wav(
        tmp_path / "noise_folder" / "street.wav",
        0.1 * np.random.default_rng(9).standard_normal(40000),
    )
    (tmp_path / "mine.py").write_text(
        "import sys\n"
        "rows = [line.split('\\t') for line in open(sys.argv[1]).read().splitlines()]\n"
        "rows = [row for row in rows if row[1].endswith('.wav')]\n"
        "open(sys.argv[2], 'w').write(''.join(f'{row[0]}\\tlay red\\n' for row in rows))\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr("sys.argv", shlex.split(line))
    main()


def commands() -> list[str]:
    """The shell lines of the page, in their order."""
    blocks = PAGE.read_text(encoding="utf-8").split("```bash\n")[1:]
    return [line for block in blocks for line in block.split("```")[0].splitlines() if line]


def test_the_page_runs_from_its_list_to_its_scores(desk, monkeypatch, capsys):
    # Less of everything, and nobody's Whisper; the rest is as it stands on the page.
    short = "--snrs-db 0 5 --seeds 0 1"
    for line in commands():
        if "transformers" in line:
            continue
        if line.startswith("avsr noise build"):
            line += f" {short}"
        line = line.replace("--name mine", "--name theirs")
        if line.startswith("avsr score"):
            rendered = (desk / "mixtures" / "list.tsv").read_text().splitlines()[1:]
            texts = [f"{row.split(chr(9))[0]}\tlay red 2" for row in rendered]
            (desk / "texts.tsv").write_text("\n".join(texts) + "\n")
            line = line.replace("decoded/whisper", "decoded/mine") + " --resamples 50"
        if line.startswith("avsr compare"):
            line = line.replace("other/results.json", "results/results.json")
            line += " --system-a theirs --system-b second --resamples 50 --out compared.json"
        run(monkeypatch, line.replace("python mine.py", "python3 mine.py"))
        if line.startswith("avsr score"):  # a second system of the same test, to compare with
            again = line.replace("mine=texts.tsv", "second=texts.tsv")
            run(monkeypatch, again)
    said = capsys.readouterr().out
    assert "passed" in said and "36 mixtures" in said
    results = read_json(desk / "results" / "results.json")
    assert {row["system"] for row in results["rows"]} == {"theirs", "second"}
    assert (desk / "results" / "report.html").stat().st_size > 50_000
    assert (desk / "results" / "rows.tex").is_file()
    found = read_json(desk / "compared.json")
    assert found["schema"] == "avsr.comparison" and found["rows"][-1]["noise_type"] == "all"


def test_every_command_of_the_page_is_known():
    words = [line.split()[1:3] for line in commands()]
    names = {" ".join(pair) if pair[0] == "noise" else pair[0] for pair in words}
    assert names == {
        *("noise build", "noise audit", "noise render", "noise decode"),
        *("score", "compare"),
    }


def test_a_failed_audit_is_an_error_with_its_findings_printed(desk, monkeypatch, capsys):
    told = "--noise noise_folder --noise-types street --snrs-db 0 --seeds 0"
    fault = "--faults zero_db_is_clean"
    run(
        monkeypatch,
        f"avsr noise build bad --corpus test.tsv --split '' {told} {fault}",
    )
    with pytest.raises(SystemExit):
        run(monkeypatch, "avsr noise audit bad --out audit.json")
    captured = capsys.readouterr()
    assert "street 0 dB: 4 mixtures do not have this level" in captured.out
    assert "the audit found 1 errors" in captured.err
    assert json.loads((desk / "audit.json").read_text())["passed"] is False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "avsr noise decode noisy --adapter pocketsphinx --out d --video-conditions frozen_1",
            "need --visual",
        ),
        (
            "avsr noise decode noisy --adapter moonshine --out d --visual-sources still",
            "for --adapter ours",
        ),
        ("avsr noise build noisy --corpus none.tsv --noise-types white", "is no prepared corpus"),
        ("avsr score nowhere --hypotheses a.tsv --out r", "holds no noisy test"),
    ],
)
def test_commands_that_cannot_be(desk, monkeypatch, capsys, line, message):
    told = "--snrs-db 0 --seeds 0 --noise-types white"
    run(monkeypatch, f"avsr noise build noisy --corpus test.tsv --split '' {told}")
    with pytest.raises(SystemExit):
        run(monkeypatch, line)
    assert message in capsys.readouterr().err
