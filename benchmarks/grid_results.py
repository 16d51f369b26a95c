"""The published figures of a finished recipe run: one JSON to keep, one page made from it.

    python benchmarks/grid_results.py --run runs/grid

Reads what the run left behind (``results.json``, ``motion.json``, durations, networks, the prepared
corpus), holds it against the aims, and writes ``benchmarks/results/<corpus>.json`` (no paths of the
machine in it), ``recipes/<corpus>/results.md`` made from that JSON alone, and the recipe's line of
``recipes/README.md``. Works on the synthetic run as well, without the aims that are GRID's.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import tyro

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

from avsr.command_line import run_command  # noqa: E402
from avsr.files import read_json, read_jsonl, write_atomically  # noqa: E402
from avsr.tables import size_text  # noqa: E402
from benchmarks.published.aims import STAGES, aims_of  # noqa: E402
from benchmarks.published.page import page, recipe_line  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402

NETWORKS = ("loss", "judge", "student", "pretrain", "audio_visual", "audio")
NETWORKS_OF = {"motion": NETWORKS[:3], **{name: (name,) for name in NETWORKS[3:]}}


def collect(run: Path, notes: Sequence[str] = (), *, measured_aims: bool = False) -> dict[str, Any]:
    """Everything that is published of a run, JSON-ready, with the machine's paths taken out.

    ``measured_aims`` leaves out the aims that the run does not measure.

    Raises:
        ValueError: the run has no ``results.json`` yet, or it is not one of ``avsr.score``.
    """
    if not (run / "results.json").is_file():
        raise ValueError(f"{run}: has no results.json; run the recipe to its report stage first")
    results = read_json(run / "results.json")
    if results.get("schema") != "avsr.results":
        raise ValueError(f"{run / 'results.json'}: schema is {results.get('schema')!r}, not ours")
    networks = {name: info for name in NETWORKS if (info := _network(run / name))}
    motion = _optional(run / "motion.json")
    hardware = next((one for one in networks.values() if one.get("cpu_count")), {})
    document = {
        **results,
        "schema": "benchmarks.run",
        "protocol": _short_protocol(results["protocol"]),
        "motion": motion,
        "networks": networks,
        "prepared": _prepared(run / "prepared"),
        "durations_s": _durations(run),
        "cores": hardware.get("cpu_count"),
        "notes": list(notes),
    }
    document = scrubbed(document)
    aims = [one for one in aims_of(document) if one.met is not None or not measured_aims]
    document["aims"] = [{**asdict(one), "met": one.met, "missed_by": one.off} for one in aims]
    return document


def _optional(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _network(folder: Path) -> dict[str, Any] | None:
    info, best = _optional(folder / "run.json"), _optional(folder / "best.json")
    return None if info is None else {**info, "best": best}


def _short_protocol(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol with long lists of noise files reduced to their number."""
    short = {**protocol}
    for key in ("test_noises", "training_noises"):
        short[key] = {
            name: list(files) if len(files) <= 3 else [_list_text(files)]
            for name, files in protocol[key].items()
        }
    return short


def _list_text(files: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()
    return f"{len(files)} files, sha256 of the sorted list {digest}"


def _prepared(folder: Path) -> dict[str, Any] | None:
    info = _optional(folder / "corpus.json")
    if info is None:
        return None
    skipped = folder / "skipped.jsonl"
    info.pop("voices", None)  # of the synthetic corpus: a function of its seed
    return {**info, "skipped": list(read_jsonl(skipped)) if skipped.is_file() else []}


def _durations(run: Path) -> dict[str, float]:
    """Seconds of each stage that ran.

    A stage that was stopped and taken up again wrote its last leg only; for training the legs stand
    in ``metrics.jsonl``, whose seconds start again at each.
    """
    seconds = {}
    for stage in STAGES:
        written = _optional(run / f"{stage}.seconds.json")
        trained = sum(_legs(run / name) for name in NETWORKS_OF.get(stage, ()))
        if written is not None or trained:
            seconds[stage] = max(written["seconds"] if written else 0.0, trained)
    return seconds


def _legs(folder: Path) -> float:
    total = last = 0.0
    path = folder / "metrics.jsonl"
    for row in read_jsonl(path) if path.is_file() else ():
        if row["seconds"] < last:
            total += last
        last = row["seconds"]
    return total + last


def fill_line(readme: str, name: str, line: str) -> str:
    """A text with the table row of recipe ``name`` replaced.

    Raises:
        ValueError: there is no such row.
    """
    pattern = re.compile(rf"^\| \[{re.escape(name)}\]\(.*$", flags=re.M)
    if not pattern.search(readme):
        raise ValueError(f"recipes/README.md has no table row that starts with '| [{name}]('")
    return pattern.sub(lambda _: line, readme)


def _dumps(document: Mapping[str, Any]) -> str:
    """JSON with one line for each row of a long list: small, and readable in a diff."""
    parts = []
    for key, value in document.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value:
            rows = ",\n  ".join(json.dumps(one, ensure_ascii=False) for one in value)
            text = f"[\n  {rows}\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _write(path: Path, text: str) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(path)


def main(
    run: Path = Path("runs/grid"),
    out: Path | None = None,
    figures: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
    notes: tuple[str, ...] = (),
    measured_aims: bool = False,
) -> None:
    """Write the published figures of a recipe's run.

    Args:
        run: folder of a finished run.
        out: the page; default recipes/<grid or synthetic>/results.md.
        figures: its figures as JSON; default benchmarks/results/<grid or synthetic>.json.
        notes: paragraphs under the aims, such as why one was missed.
        measured_aims: leave out aims that the run does not measure, for a variant of the recipe.
    """
    if not (run / "results.json").is_file():
        print(f"grid_results: nothing to publish, {run} has no results.json; run a recipe first")
        return  # not an error: 'make bench' runs every benchmark on machines without a run
    document = collect(run, notes, measured_aims=measured_aims)
    name = "synthetic" if document["protocol"]["synthetic"] else "grid"
    usual = ROOT / "recipes" / name / "results.md"
    _write(figures or ROOT / "benchmarks" / "results" / f"{name}.json", _dumps(document))
    _write(out or usual, page(document))
    if (out or usual).resolve() == usual:
        readme = ROOT / "recipes" / "README.md"
        data = f"{document['protocol']['corpus']}, {size_text(document['protocol'])}"
        line = recipe_line(document, name, data)
        _write(readme, fill_line(readme.read_text(encoding="utf-8"), name, line))


if __name__ == "__main__":
    run_command(main)
