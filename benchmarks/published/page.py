"""A run's figures as the page of a recipe, and as its line in the table of recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from avsr.arm_labels import arm_labels, arm_of
from avsr.conditions import CLEAN
from avsr.tables import level_label, markdown, p_text, percent, pooled
from benchmarks.published.aims import AV, NOISY_DB, A, Aim, V, offset_text, seconds_of


def page(document: Mapping[str, Any]) -> str:
    """``results.md``: data, aims, WER tables, lips, networks, provenance."""
    protocol = document["protocol"]
    # avsr.tables draws the title, the remarks on the data, and then the tables.
    head, _, tables = markdown(document).partition("\n\n## ")
    aims = [
        Aim(**{field.name: row[field.name] for field in fields(Aim)}) for row in document["aims"]
    ]
    resamples = document["interval"]["num_resamples"]
    parts = [head]
    if protocol["synthetic"]:
        parts.append("The aims for GRID do not apply to synthetic data and are left out.")
    if aims:
        header = ["aim", "of", "measured", "interval or p", "met"]
        parts += ["## Aims", _table(header, [_aim_cells(one, resamples) for one in aims])]
    parts += [
        *document["notes"],
        f"## {tables.rstrip()}",
        *_legend(document),
        *_against_audio(document),
        *_lips(document["motion"]),
        *_data(document),
        *_networks(document),
        *_provenance(document),
    ]
    return "\n\n".join(parts) + "\n"


_DIGITS = {"%": 1, "points": 1, "ratio": 2, "AUC": 3, "mm": 3, "h": 2}


def _aim_cells(one: Aim, num_resamples: int) -> list[str]:
    digits = _DIGITS[one.unit]

    def number(value: float) -> str:
        return f"{value:.{digits}f}".replace("-", "\u2212")

    unit = "" if one.unit in ("ratio", "AUC") else f" {one.unit}"
    measured = "not measured" if one.value is None else f"{number(one.value)}{unit}"
    certainty = []
    if one.low is not None and one.high is not None:
        certainty.append(f"[{number(one.low)}, {number(one.high)}]")
    if one.p_value is not None:
        p = p_text(one.p_value, num_resamples)
        certainty.append(f"p {p}" if p.startswith("<") else f"p = {p}")
    if one.met is None:
        verdict = "\u2013"
    elif one.met:
        verdict = "met"
    elif one.off is not None and (one.off > 0 or one.p_below is None):
        # At the table's digits a miss by less than one of them would read as none.
        verdict = f"missed by {max(one.off, 10.0**-digits):.{digits}f}{unit}"
    else:
        verdict = "missed: p too large"
    return [one.aim, "; ".join(filter(None, (one.of, one.note))), measured] + [
        ", ".join(certainty) or "\u2013",
        verdict,
    ]


def _legend(document: Mapping[str, Any]) -> list[str]:
    labels = arm_labels(document)
    if sum(arm.modality == "audio" for arm in labels) < 2:
        return []
    first = "`pretrain`" if "pretrain" in document["networks"] else "that of another run"
    return [
        f"Both networks go on from one, {first}, trained on sound, mouth crops and lips: `audio` "
        "on sound alone, `audio_visual` on all three, heard here with and without the visual ones."
    ]


def _against_audio(document: Mapping[str, Any]) -> list[str]:
    """Every audio-visual arm against the audio arms and the controls at the aim's level."""
    labels, resamples = arm_labels(document), document["interval"]["num_resamples"]
    body = []
    for row in document["comparisons"]:
        if row["snr_db"] != NOISY_DB:
            continue
        bounds = [percent(row[f"difference{end}"]) for end in ("", "_low", "_high")]
        body.append(
            [
                row["noise_type"],
                labels[arm_of(row)],
                labels[arm_of(row["baseline"])],
                f"{percent(row['wer'])} / {percent(row['baseline_wer'])}",
                f"{bounds[0]} [{bounds[1]}, {bounds[2]}]",
                p_text(row["p_value"], resamples),
            ]
        )
    if not body:
        return []
    head = ["noise", "arm", "against", "WER % / WER %", "difference, points", "p"]
    note = "Paired over the same mixtures; two-sided p, not corrected for the number of tests."
    return [f"## Paired tests at {level_label(NOISY_DB)}", note, _table(head, body)]


_FACES = ("student", "mean_face", "still_face", "other_utterance", "student_of_other")


def _lips(motion: Mapping[str, Any] | None) -> list[str]:
    if motion is None:
        return ["## Lips from speech", "Not measured: the run has no motion.json."]
    parts = ["## Lips from speech"]
    student = motion.get("student")
    if student:
        measures = student["measures"]
        body = [
            [
                name.replace("_", " "),
                *(_interval(student["systems"][name][one]) for one in measures),
            ]
            for name in _FACES
        ]
        told = "; ".join(f"`{name}`: {what}" for name, what in measures.items())
        parts += [
            f"{student['clips']} unseen clips, {len(student['excluded'])} excluded; 95 % intervals "
            f"over {student['clustered_by']}s. {told}.",
            _table(["face", *measures], body),
        ]
    body, offsets = [], []
    for name in ("sync_judge", "sync_loss"):
        if name not in motion:
            continue
        expert = name.removeprefix("sync_")
        for key, one in sorted(
            motion[name]["auc_by_length_of_speech"].items(), key=lambda item: seconds_of(item[0])
        ):
            body.append(
                [f"{expert}, {seconds_of(key):.2f} s", _auc(one["all_windows"])]
                + [str(one["num_true"]), _auc(one["speech_windows"])]
                + [str(one["num_true_in_speech"])]
            )
        clips = motion[name]
        body.append(
            [f"{expert}, whole clips", _auc(clips["auc_clips"]), str(clips["clips"])]
            + ["\u2013"] * 2
        )
        offsets.append(f"- {expert}: {offset_text(clips['offset'])}")
    head = ["expert, stretch of speech", "AUC, all", "true", "AUC, inside speech", "true"]
    return [
        *parts,
        "SyncNet3D on unseen clips, true against shifted by 3 to 15 frames either way. The judge "
        "never trained the student; stretches longer than the shortest are means of its windows.",
        _table(head, body),
        "\n".join(offsets),
    ]


def _auc(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.3f}"


def _interval(one: Mapping[str, Any]) -> str:
    return f"{one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"


def _data(document: Mapping[str, Any]) -> list[str]:
    prepared = document["prepared"]
    if prepared is None:
        return ["## Data", "The prepared corpus is not beside the run: no counts."]
    body = [
        [split, *(str(counts[name]) for name in ("utterances", "frames", "valid_frames"))]
        for split, counts in prepared["counts"]["utterances"].items()
    ]
    skipped = prepared["skipped"]
    lines = [f"- `{one['utterance_id']}`: {one['reason']}" for one in skipped]
    return [
        "## Data",
        _table(["split", "clips prepared", "frames", "frames with a tracked face"], body),
        f"Clips skipped: {len(skipped)}." + ("\n\n" + "\n".join(lines) if lines else ""),
    ]


def _networks(document: Mapping[str, Any]) -> list[str]:
    body = []
    for name, info in document["networks"].items():
        best: dict[str, Any] = info["best"] or {}
        configs: dict[str, Any] = info.get("configs", {})
        # avsr keeps the training part beside the model's, learn2talk inside the network's own.
        own = configs if "train" in configs else next(iter(configs.values()), {})
        train = own.get("train", {})
        kept = {key: value for key, value in best.items() if key != "update"}
        body.append(
            [
                name,
                f"{info['parameters']:,}" if info.get("parameters") else "\u2013",
                str(train.get("max_updates", "\u2013")),
                str(best.get("update", "\u2013")),
                ", ".join(f"{key} {value:.3g}" for key, value in kept.items()) or "\u2013",
            ]
        )
    head = ["network", "parameters", "updates", "kept at", "validation, where kept"]
    chosen = document["protocol"]["selection"]
    return (
        ["## Networks", f"Recognisers are chosen by: {chosen}.", _table(head, body)] if body else []
    )


def _provenance(document: Mapping[str, Any]) -> list[str]:
    origin = document["provenance"]
    seconds = document["durations_s"]
    commits: dict[str, list[str]] = {}
    for name, info in document["networks"].items():
        commits.setdefault(str(info.get("commit")), []).append(name)
    commits.setdefault(str(origin["commit"]), []).append("results")
    hashes = {
        "mixtures": origin["manifest_sha256"],
        "hypotheses": origin["hypotheses_sha256"],
        **origin["data_sha256"],
        **{f"network {name}": one for name, one in origin["checkpoint_sha256"].items()},
    }
    student = (document["motion"] or {}).get("student") or {}
    hashes |= {key: student[f"{key}_sha256"] for key in ("student", "judge") if student}
    minutes = [[stage, f"{one / 60:.1f}"] for stage, one in seconds.items()]
    commands = dict.fromkeys(
        [*(info.get("command", "") for info in document["networks"].values()), origin["command"]]
    )
    lines = [
        f"- hardware: {origin['hardware']}",
        f"- made: {origin['created_utc']}",
        *(f"- commit of {', '.join(names)}: `{commit}`" for commit, names in commits.items()),
        f"- versions: {', '.join(f'{k} {v}' for k, v in origin['versions'].items())}",
        f"- text normaliser: {origin['normaliser_version']}",
        *(f"- sha256 of {name}: `{one}`" for name, one in hashes.items()),
    ]
    return [
        "## Provenance",
        "```text\n" + "\n".join(one for one in commands if one) + "\n```",
        "\n".join(lines),
        _table(["stage", "minutes"], [*minutes, ["sum", f"{sum(seconds.values()) / 60:.1f}"]]),
    ]


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def recipe_line(document: Mapping[str, Any], name: str, data: str) -> str:
    """The recipe's row of ``recipes/README.md``: data, hardware, duration, result, command."""
    by_key, origin = pooled(document), document["provenance"]
    rates = [
        f"{text} {percent(row['wer'])} %"
        for text, arm in (("A", A), ("V", V), ("AV", AV))
        if (row := by_key.get((arm, CLEAN, None)))
    ]
    noises = [
        f"{noise} {level_label(NOISY_DB)}: "
        + ", ".join(
            f"{text} {percent(row['wer'])} %"
            for text, arm in (("A", A), ("AV", AV))
            if (row := by_key.get((arm, noise, NOISY_DB)))
        )
        for noise in document["protocol"]["test_noises"]
        if (AV, noise, NOISY_DB) in by_key
    ]
    seconds = sum(document["durations_s"].values())
    result = "; ".join([f"WER clean: {', '.join(rates)}", *noises])
    if document["protocol"]["synthetic"]:
        result = f"synthetic: {result}"
    cells = [f"[{name}]({name}/)", data, origin["hardware"], f"{seconds / 60:.0f} min"]
    cells += [f"{result} ([all]({name}/results.md))"]
    cells += [f"`python recipes/{name}/recipe.py all`", f"`{origin['commit'][:12]}`"]
    return "| " + " | ".join(cells) + " |"
