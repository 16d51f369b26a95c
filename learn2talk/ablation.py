"""Tables of an ablation: what each loss does to exactness, synchrony and readability of faces.

Reads what the recipe ``learn2talk_faces`` measured; computes nothing but the verdicts on its aims.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from avsr.files import read_json, write_atomically, write_json
from learn2talk.evaluate.measures import MEASURES

PARTS = ("no_sync", "no_lip_reading", "fixed", "autoregressive")  # compared with the balanced one
CLOSURE_AIM = 0.8  # of the truth's recall

Figures = Mapping[str, Any]


def load_measured(run: Path, corpora: Sequence[str], split: str) -> dict[str, dict[str, Any]]:
    """For each corpus each system's figures of motion and of readability, by name.

    Raises:
        ValueError: a file is missing.
    """
    found: dict[str, dict[str, Any]] = {}
    for corpus in corpora:
        folder = run / "measured" / corpus / split
        for name in ("faces.json", "readability.json"):
            if not (folder / name).is_file():
                raise ValueError(f"{folder / name}: missing; run the recipe's stage measure")
        faces, read = read_json(folder / "faces.json"), read_json(folder / "readability.json")
        names = [*faces["systems"], *(n for n in read["systems"] if n not in faces["systems"])]
        found[corpus] = {
            "systems": {
                name: {**faces["systems"].get(name, {}), **read["systems"].get(name, {})}
                for name in names
            },
            "minus": {
                name: {
                    other: {**apart, **read["student_minus_control"][name].get(other, {})}
                    for other, apart in own.items()
                }
                for name, own in faces["minus"].items()
            },
            "clips": faces["clips"],
            "clustered_by": faces["clustered_by"],
            "seed": faces["seed"],
            "students": faces["students"],
            "judge_sha256": faces["judge_sha256"],
            "lip_reader_sha256": read["lip_reader_sha256"],
            "commit": faces["commit"],
        }
    return found


def chosen_balanced(valid: Mapping[str, Mapping[str, Any]], candidates: Sequence[str]) -> str:
    """The candidate with the best mean rank over LVE, LSE-D and VER of all corpora (validation).

    Raises:
        ValueError: no candidate.
    """
    if not candidates:
        raise ValueError("no balanced student to choose from; train one in the stage students")
    ranks = dict.fromkeys(candidates, 0)
    for corpus in valid.values():
        for measure in ("lve_mm2", "lse_d", "ver"):
            values = {name: corpus["systems"][name][measure]["value"] for name in candidates}
            for place, name in enumerate(sorted(candidates, key=lambda name: values[name])):
                ranks[name] += place
    return min(candidates, key=lambda name: ranks[name])


def verdicts(corpus: Mapping[str, Any], balanced: str) -> list[dict[str, Any]]:
    """The aims of the ablation on one corpus: what was aimed at, what was measured, whether met."""
    systems, minus = corpus["systems"], corpus["minus"]
    compared = [name for name in (*PARTS, balanced) if name in systems]
    rows = []
    for measure, words in (("lve_mm2", "LVE"), ("lse_d", "LSE-D")):
        best = min(compared, key=lambda name: systems[name][measure]["value"])
        mine, top = systems[balanced][measure], systems[best][measure]
        rows.append(
            {
                "aim": f"{words}: balanced is best, or within the interval of the best",
                "measured": f"{mine['value']:.3f}; best {best} {_interval(top, 3)}",
                "met": best == balanced or mine["value"] <= top["high"],
            }
        )
    apart = minus[balanced]["no_lip_reading"]["ver"]
    rows.append(
        {
            "aim": "VER: lower than without the lip-reading loss",
            "measured": f"difference {_interval(apart, 1, 100, signed=True)} points",
            "met": apart["high"] < 0.0,
        }
    )
    for control in ("mean_face", "still_face", "other_utterance"):
        mine, theirs = systems[balanced]["ver"], systems[control]["ver"]
        rows.append(
            {
                "aim": f"VER: lower than {_words(control)}, intervals that do not touch",
                "measured": f"{_interval(mine, 1, 100)} against {_interval(theirs, 1, 100)} %",
                "met": mine["high"] < theirs["low"],
            }
        )
    mine, real = (systems[name]["closure_recall"]["value"] for name in (balanced, "truth"))
    if mine is not None and real:
        rows.append(
            {
                "aim": f"closure recall at least {CLOSURE_AIM:g} of the truth's",
                "measured": f"{mine:.3f} of {real:.3f}: {mine / real:.2f}",
                "met": mine >= CLOSURE_AIM * real,
            }
        )
    return rows


def write_ablation(run: Path, corpora: Sequence[str]) -> list[Path]:
    """``results.json``, ``results.md`` and the pictures of a measured run.

    Raises:
        ValueError: a stage is missing.
    """
    from learn2talk.ablation_pictures import contact_sheet, plot_calibration, plot_trade_off

    valid, test = (load_measured(run, corpora, split) for split in ("valid", "test"))
    names = next(iter(test.values()))["students"]
    candidates = [name for name in names if name.startswith(("balanced", "projected"))]
    balanced = chosen_balanced(valid, candidates)
    extras = {corpus: _extras(run / "measured" / corpus / "test") for corpus in corpora}
    results = {
        "balanced": balanced,
        "chosen_among": candidates,
        "valid": valid,
        "test": test,
        "verdicts": {corpus: verdicts(test[corpus], balanced) for corpus in corpora},
        "extras": extras,
        "others": _kept(run / "measured" / "others.json"),
        "teacher": _kept(run / "measured" / "teacher.json"),
    }
    write_json(run / "results.json", _published(results))
    with write_atomically(run / "results.md") as temporary:
        temporary.write_text("\n".join(markdown(results)) + "\n", encoding="utf-8")
    pictures = [
        plot_trade_off(run / "trade_off.png", test),
        plot_calibration(run / "calibration.png", extras),
        *(
            contact_sheet(run / f"contact_sheet_{corpus}.png", run, corpus, balanced)
            for corpus in corpora
        ),
    ]
    return [run / "results.md", run / "results.json", *pictures]


def _published(results: Mapping[str, Any]) -> dict[str, Any]:
    """What a page needs of the results: intervals as three numbers, differences of one student."""

    def short(value: Any) -> Any:
        if isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys():
            return [_rounded(value[name]) for name in ("value", "low", "high")]
        if isinstance(value, Mapping):
            return {name: short(one) for name, one in value.items()}
        if isinstance(value, list):
            return [short(one) for one in value]
        return _rounded(value)

    balanced = results["balanced"]
    test = {
        corpus: {**found, "minus": {balanced: found["minus"][balanced]}}
        for corpus, found in results["test"].items()
    }
    valid = {
        corpus: {
            name: {m: one[m] for m in ("lve_mm2", "lse_d", "ver") if m in one}
            for name, one in found["systems"].items()
        }
        for corpus, found in results["valid"].items()
    }
    published: dict[str, Any] = short({**results, "test": test, "valid": valid})
    return published


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _kept(path: Path) -> dict[str, Any] | None:
    """What was measured into a file; None where it was not."""
    return dict(read_json(path)) if path.is_file() else None


def _extras(folder: Path) -> dict[str, Any]:
    """Noise, calibration and experts, where they were measured."""
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))} | {
        "faces": None,
        "readability": None,
    }


def markdown(results: Mapping[str, Any]) -> Iterator[str]:
    """Lines of the tables."""
    balanced = results["balanced"]
    yield (
        f"Full, balanced is `{balanced}`: of {', '.join(results['chosen_among'])} the best mean "
        "rank over LVE, LSE-D and VER on the validation splits."
    )
    yield ""
    for corpus, found in results["test"].items():
        systems = found["systems"]
        yield f"## {corpus}: {found['clips']} test clips, intervals over {found['clustered_by']}s"
        yield ""
        yield from _aims(results["verdicts"][corpus])
        yield "Exactness and readability (value [95 % interval]):"
        yield ""
        yield from _table(systems, ("lve_mm2", "lip_error_mm", "lse_d", "lse_c"), ("ver", "wer"))
        yield "Everything else:"
        yield ""
        shown = {*("lve_mm2", "lip_error_mm", "lse_d", "lse_c")}
        rest = [name for name in MEASURES if name not in shown]
        yield from _plain_table(systems, rest)
        yield f"Paired differences of `{balanced}`:"
        yield ""
        yield from _differences(found["minus"][balanced])
        yield from _noise(results["extras"][corpus].get("noise"))
        yield from _calibration(results["extras"][corpus])
    yield from _others(results.get("others"))
    yield from _teacher(results.get("teacher"))
    yield "## Made with"
    yield ""
    for corpus, found in results["test"].items():
        yield (
            f"{corpus}: measured at commit `{found['commit']}`, bootstrap seed {found['seed']}; "
            f"judge `{found['judge_sha256'][:12]}`, lip reader `{found['lip_reader_sha256'][:12]}`."
        )


def _aims(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| aim | measured | met |"
    yield "|---|---|---|"
    for row in rows:
        yield f"| {row['aim']} | {row['measured']} | {'yes' if row['met'] else '**no**'} |"
    yield ""


def _table(systems: Figures, names: Sequence[str], rates: Sequence[str]) -> Iterator[str]:
    units = [f"{name} ({MEASURES[name].unit})" for name in names]
    yield "| face | " + " | ".join([*units, *(f"{rate.upper()} (%)" for rate in rates)]) + " |"
    yield "|---|" + "---:|" * (len(names) + len(rates))
    for system, figures in systems.items():
        cells = [_interval(figures.get(name), 3) for name in names]
        cells += [_interval(figures.get(rate), 1, 100) for rate in rates]
        yield f"| {_words(system)} | " + " | ".join(cells) + " |"
    yield ""


def _plain_table(systems: Figures, names: Sequence[str]) -> Iterator[str]:
    yield "| face | " + " | ".join([*names, "CER (%)", "VWER (%)"]) + " |"
    yield "|---|" + "---:|" * (len(names) + 2)
    for system, figures in systems.items():
        cells = [_value(figures.get(name), 3) for name in names]
        cells += [_value(figures.get(rate), 1, 100) for rate in ("cer", "vwer")]
        yield f"| {_words(system)} | " + " | ".join(cells) + " |"
    yield ""


def _differences(minus: Mapping[str, Figures]) -> Iterator[str]:
    yield "| minus | LVE (mm²) | LSE-D | VER (points) |"
    yield "|---|---:|---:|---:|"
    for other, apart in minus.items():
        if other.startswith("truth_shifted"):
            continue
        cells = [_interval(apart.get(name), 3, signed=True) for name in ("lve_mm2", "lse_d")] + [
            _interval(apart.get("ver"), 1, 100, signed=True)
        ]
        yield f"| {_words(other)} | " + " | ".join(cells) + " |"
    yield ""


def _noise(noise: Mapping[str, Any] | None) -> Iterator[str]:
    if noise is None:
        return
    names = list(noise["students"])
    yield "Lip error in mm of what is made from noisy sound, against the motion of the clean clip:"
    yield ""
    yield "| noise | SNR (dB) | " + " | ".join(map(_words, names)) + " | difference |"
    yield "|---|---:|" + "---:|" * (len(names) + 1)
    rows = sorted(noise["rows"], key=lambda row: (row["snr_db"] is not None, row["noise_type"]))
    for row in rows:
        level = "clean" if row["snr_db"] is None else f"{row['snr_db']:g}"
        cells = [_interval(row["lip_error_mm"][name], 2) for name in names]
        apart = row[f"minus_{names[0]}_mm"][names[1]]
        cells.append(_interval(apart, 2, signed=True))
        yield f"| {row['noise_type']} | {level} | " + " | ".join(cells) + " |"
    yield ""


def _calibration(extras: Mapping[str, Any]) -> Iterator[str]:
    curves = {role: extras.get(f"calibration_{role}") for role in ("loss", "judge")}
    experts = {role: extras.get(f"expert_{role}") for role in ("loss", "judge")}
    if not all(curves.values()) or not all(experts.values()):
        return
    yield "SyncNet3D on these unseen clips: median of the shift found for each known one, frames,"
    yield "positive = audio late; AUC of single windows of 0.2 s inside speech and of whole clips:"
    yield ""
    known = [row["known_frames"] for row in curves["loss"]["offsets"]]  # type: ignore[index]
    picked = [k for k in known if k % 5 == 0]
    yield "| expert | AUC, windows | AUC, clips | " + " | ".join(f"{k:+d}" for k in picked) + " |"
    yield "|---|---:|---:|" + "---:|" * len(picked)
    for role, curve in curves.items():
        found = {row["known_frames"]: row["median_frames"] for row in curve["offsets"]}  # type: ignore[index]
        expert: Any = experts[role]
        windows = next(iter(expert["auc_by_length_of_speech"].values()))
        cells = ["–" if found[k] is None else f"{found[k]:+g}" for k in picked]
        yield (
            f"| {role} | {windows['speech_windows']:.3f} | {expert['auc_clips']:.3f} | "
            + " | ".join(cells)
            + " |"
        )
    yield ""


def _others(found: Mapping[str, Any] | None) -> Iterator[str]:
    """Real speakers whom no network has seen or heard."""
    if found is None:
        return
    names = list(found["students"])
    yield f"## Real voices never heard: {found['clips']} clips of as many GRID speakers"
    yield ""
    yield "Mean lip error in mm; so few clips show no more than an order of size."
    yield ""
    yield "| sound | " + " | ".join(map(_words, names)) + " |"
    yield "|---|" + "---:|" * len(names)
    for row in found["rows"]:
        level = "clean" if row["snr_db"] is None else f"{row['noise_type']} {row['snr_db']:g} dB"
        cells = [_value(row["lip_error_mm"][name], 2) for name in names]
        yield f"| {level} | " + " | ".join(cells) + " |"
    yield ""


def _teacher(found: Mapping[str, Any] | None) -> Iterator[str]:
    """The 2D talking mouth beside the real films."""
    if found is None:
        return
    yield f"## The 2D teacher: {found['utterances']} test films of grid"
    yield ""
    yield f"SSIM of the talking mouth to the real film: {_interval(found['ssim'], 3)}."
    yield ""
    yield "| mouth | WER of the lip reader (%) |"
    yield "|---|---:|"
    for name, rate in found["lip_reading_wer"].items():
        yield f"| {_words(name)} | {_interval(rate, 1, 100)} |"
    yield ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(figure: Mapping[str, Any] | None, digits: int, scale: float = 1.0) -> str:
    if figure is None or figure.get("value") is None:
        return "–"
    return f"{scale * figure['value']:.{digits}f}"


def _interval(
    figure: Mapping[str, Any] | None, digits: int, scale: float = 1.0, *, signed: bool = False
) -> str:
    if figure is None or figure.get("value") is None:
        return "–"
    sign = "+" if signed else ""
    value, low, high = (scale * figure[name] for name in ("value", "low", "high"))
    return f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
