"""Commands that score texts and compare results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from avsr.schema import Modality, VisualSource


def score(
    test: Positional[Path],
    hypotheses: Annotated[tuple[str, ...], arg(metavar="[NAME=]FILE [[NAME=]FILE ...]")],
    out: Path,
    modality: Modality = "audio",
    visual_source: VisualSource = "none",
    video_condition: str = "clean",
    encoding: str | None = None,
    order: Path | None = None,
    spell_numbers: bool = False,
    synthetic: bool = False,
    speaker_dependent: bool = False,
    notes: tuple[str, ...] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> None:
    """Score texts of any recogniser on a noisy test: WER with intervals, tables, plot, page.

    Args:
        test: folder of 'avsr noise build'.
        hypotheses: files of texts by mixture id: JSON lines, TSV, Kaldi text, fairseq output, or
            hypotheses.jsonl of ours. whisper=texts.tsv names the system; else it is the file's.
        out: folder to write: hypotheses.jsonl, results.json, results.md, rows.csv, plot, page.
        modality: what the systems were given, where a file does not say it itself.
        visual_source: the same, of the picture.
        video_condition: the same: what was done to the pictures.
        encoding: of the files; without it UTF-8, or UTF-16 where a file is marked so.
        order: the list that fairseq decoded; without it the manifest's order.
        spell_numbers: count 4 and four as the same word (English, whole numbers).
        synthetic: the speech is made by a program; the page says so.
        speaker_dependent: a tested system was trained on the test's speakers; the page says so.
        notes: sentences that stand beside the figures.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    from avsr.conditions import Bootstrap
    from avsr.files import read_jsonl, write_json
    from avsr.report import ReportText, write_outputs
    from avsr.score_files import Given, SystemTexts, gather, score_test

    if not hypotheses:
        raise ValueError("nothing to score; give --hypotheses FILE, or NAME=FILE for each system")
    files = [SystemTexts.parse(one) for one in hypotheses]
    given = Given(modality, visual_source, video_condition)
    merged = out / "hypotheses.jsonl"
    manifest, lines = gather(test, files, merged, given=given, encoding=encoding, order=order)
    for line in lines:
        print(line)
    conditions = dict.fromkeys(["clean", *(row["video_condition"] for row in read_jsonl(merged))])
    results = score_test(
        test,
        merged,
        manifest,
        bootstrap=Bootstrap(seed=seed, num_resamples=resamples),
        synthetic=synthetic,
        speaker_dependent=speaker_dependent,
        video_conditions=tuple(conditions),
        notes=notes,
        spell_numbers=spell_numbers,
    )
    write_json(out / "results.json", results)
    for path in write_outputs(out, results, (), text=ReportText()).values():
        print(path)


def compare(
    a: Positional[Path],
    b: Positional[Path],
    system_a: str | None = None,
    system_b: str | None = None,
    out: Path | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> None:
    """Paired test of two results.json on the same mixtures; refuses protocols that differ.

    Args:
        a: results.json of 'avsr score' or of a recipe.
        b: another one.
        system_a: which system of a, where it has several.
        system_b: which of b.
        out: JSON file for the comparison; the table is printed.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    from avsr.compare import compare as compare_results
    from avsr.compare import comparison_table
    from avsr.conditions import Bootstrap
    from avsr.files import read_json, write_json

    found = [read_json(path) for path in (a, b)]
    for path, one in zip((a, b), found, strict=True):
        if not isinstance(one, dict):
            raise ValueError(f"{path}: holds no scored run; give the results.json of one")
    comparison = compare_results(
        found[0],
        found[1],
        system_a=system_a,
        system_b=system_b,
        bootstrap=Bootstrap(seed=seed, num_resamples=resamples),
    )
    if out is not None:
        write_json(out, comparison)
    print(comparison_table(comparison), end="")
