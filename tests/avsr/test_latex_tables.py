from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from avsr.arm_labels import arm_labels
from avsr.conditions import Arm
from avsr.latex_tables import escape_latex, latex, write_latex
from tests.avsr.made_up_report import FEW, made_up_results

SPECIAL = "&%$#_{}~^\\"
TABULAR = re.compile(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", re.S)


def test_every_special_character_is_escaped() -> None:
    assert escape_latex(SPECIAL) == (
        r"\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert escape_latex("\u22125 dB\n<a>") == r"$-$5 dB \textless{}a\textgreater{}"


def test_a_tabular_for_each_noise_with_a_column_for_each_level(tmp_path: Path) -> None:
    arms = tuple(Arm(f"s{i}{SPECIAL}", "audio", "none") for i in range(3))
    arms += (Arm(f"s0{SPECIAL}", "audio", "none", reverberation="big_room"),)
    noises = (f"babble {SPECIAL}", "pink\n\\end{document}")
    results = made_up_results(tmp_path, replace(FEW, arms=arms, noises=noises, seeds=(3, 5)))
    results["protocol"]["corpus"] = "made-up\n\\input{evil}"
    results["provenance"]["manifest_sha256"] = "ab" * 32
    text = latex(results)
    found = TABULAR.findall(text)
    assert len(found) == 2
    for columns, body in found:
        assert columns == "lrrrrr"
        lines = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert len(lines) == 1 + len(arm_labels(results)) == 5
        for line in lines:
            assert len(re.split(r"(?<!\\)&", line)) == 6
            # What is left without the commands that we write has nothing special in it.
            plain = re.sub(
                r"\\text\w+\{\}|\{\\scriptsize ([^{}]*)\}|\\[&%$#_{}]|\$-\$", r"\1", line
            )
            assert not set(plain.removesuffix("\\\\").replace("&", "")) & set(SPECIAL)
        assert body.count("\\midrule") == 2  # disturbed arms stand apart
    outside = TABULAR.sub("", text)
    assert all(line.startswith("%") for line in outside.splitlines() if line)
    for said in ("made-up \\input{evil}, test", "8 utterances", "seeds: 3, 5", "version 1", "abab"):
        assert said in outside


def test_rates_have_their_interval_and_what_was_not_decoded_is_said(tmp_path: Path) -> None:
    results = made_up_results(tmp_path, FEW)
    row = next(one for one in results["rows"] if one["snr_db"] == -5.0)
    row |= {"wer": 0.125, "wer_low": 0.1, "wer_high": 0.2, "coverage": 0.5}
    results["rows"] = [
        one for one in results["rows"] if (one["modality"], one["snr_db"]) != ("audio", 0.0)
    ]
    text = write_latex(results, tmp_path).read_text(encoding="utf-8")
    assert (tmp_path / "rows.tex").is_file()
    line = next(one for one in text.splitlines() if one.startswith("A: audio only"))
    assert "12.5 {\\scriptsize [10.0, 20.0] (50\\% decoded)}" in line
    assert " & -- & " in line


@pytest.mark.parametrize("noises", [(), ("pink",)])
def test_a_test_without_noise_has_one_column(tmp_path: Path, noises: tuple[str, ...]) -> None:
    results = made_up_results(tmp_path, replace(FEW, noises=("pink",)))
    results["protocol"]["test_noises"] = dict.fromkeys(noises, ())
    if not noises:
        results["rows"] = [row for row in results["rows"] if row["snr_db"] is None]
    ((columns, _),) = TABULAR.findall(latex(results))
    assert columns == ("lrrrrr" if noises else "lr")
