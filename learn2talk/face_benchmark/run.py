"""The whole benchmark: read what is given, track, read, measure, score, and write the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avsr.corpora.clips import file_stem
from avsr.files import read_json, sha256_file
from avsr.tracking import check_landmarker
from avsr.training.run_folder import provenance
from learn2talk.default_judge import default_judge
from learn2talk.default_lip_reader import default_lip_reader
from learn2talk.evaluate.faces import SHIFTS
from learn2talk.evaluate.measures import MEASURES
from learn2talk.face_benchmark.carrying import style_facts
from learn2talk.face_benchmark.faces import LENGTH_TOLERANCE_S, Plan, controls_of
from learn2talk.face_benchmark.figures import (
    MEASURED,
    draws_of,
    motion_figures,
    reading_figures,
    reading_rows,
)
from learn2talk.face_benchmark.films import kept_path, write_faces
from learn2talk.face_benchmark.inputs import (
    CONTROLS,
    FILM,
    SHIFTED,
    SOUNDS,
    TRUTH,
    Matched,
    System,
    check_names,
    files_of,
    match,
    read_phones,
    read_system,
    read_texts,
    read_truth,
)
from learn2talk.face_benchmark.measuring import in_processes, kept_file, measure, sums, track
from learn2talk.face_benchmark.motion_folders import MotionSettings, settings_of
from learn2talk.face_benchmark.outputs import SCHEMA, SCHEMA_VERSION, write_outputs
from learn2talk.face_benchmark.recognisers import BUNDLED, LipReader, load_lip_reader
from learn2talk.files import load_sync_expert


@dataclass(frozen=True)
class FaceBenchmark:
    """What is measured, by what, and where the report goes.

    motions, videos: a folder a system. audio: folder of sounds. text: table of what is said.
    truth: motions or films of the real talker. template: neutral face of motions without one.
    unit, fps, topology: of motions that do not say them. lip_readers: further recognisers.
    judge: folder of a sync judge; None takes the bundled one. bundled_reader, bundled_judge:
    whether those that come with the package take part. phones: folder of phone or word times.
    landmarker_model: face_landmarker.task, needed for films. allow_missing: utterances that may
    lack something. processes: that share the work. seed: of the intervals.
    """

    audio: Path
    text: Path
    out: Path
    motions: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()
    truth: Path | None = None
    template: Path | None = None
    unit: str | None = None
    fps: float | None = None
    topology: str | None = None
    lip_readers: tuple[Path, ...] = ()
    judge: Path | None = None
    bundled_reader: bool = True
    bundled_judge: bool = True
    phones: Path | None = None
    landmarker_model: Path | None = None
    allow_missing: int = 0
    processes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.motions or self.videos or self.truth):
            raise ValueError("no face to measure; give folders with --motions or --videos")
        if self.processes < 1 or self.allow_missing < 0:
            raise ValueError(
                f"processes is {self.processes}, allow_missing {self.allow_missing}; give 1 or "
                "more, and 0 or more"
            )


def benchmark_faces(asked: FaceBenchmark, *, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure every system and every control, and write the report into ``asked.out``.

    Args:
        asked: what is measured.
        say: receives lines for the user.

    Returns:
        what ``readability.json`` holds.

    Raises:
        ValueError: input that cannot be used, in one line.
    """
    check_out(asked.out)
    systems = _systems(asked)
    matched = match(
        systems,
        read_texts(asked.text),
        files_of(asked.audio, SOUNDS, "sound or video files"),
        allow_missing=asked.allow_missing,
    )
    for name, lacks in matched.left_out:
        say(f"left out: {name} has no {lacks}")
    readers = _readers(asked)
    judge = _judge(asked)
    phones, without_phones, estimated = (
        ({}, [], False) if asked.phones is None else read_phones(asked.phones, matched.utterances)
    )
    options = MotionSettings(asked.unit, asked.fps, asked.topology, asked.template)
    plan = Plan(
        out=asked.out,
        utterances=matched.utterances,
        systems=systems,
        base=next((one.name for one in systems if one.name == TRUTH), systems[0].name),
        settings={s.name: settings_of(s.folder, options) for s in systems if s.kind == "motion"},
        readers=tuple((reader.name, path) for reader, path in readers),
        judge=None if judge is None else judge[0],
        phones=phones,
        scorers={
            **{reader.sha256: f"lip reader {reader.name!r}" for reader, _ in readers},
            **({} if judge is None else {judge[1]: "the judge"}),
        },
    )
    no_face = _track(asked, plan, [reader for reader, _ in readers], say)
    records = _measured(plan, asked.processes)
    report = _report(asked, plan, matched, [r for r, _ in readers], judge, records)
    report["no_face"] = no_face
    report["phones"] = {
        "given": asked.phones is not None,
        "estimated_from_words": estimated,
        "utterances_without": without_phones,
    }
    write_outputs(asked.out, report, report.pop("rows"))
    return report


def check_out(out: Path) -> None:
    """Refuse a folder whose report has another schema.

    Raises:
        ValueError: names both.
    """
    path = out / "readability.json"
    if not path.is_file():
        return
    there: Any = read_json(path)
    found = there if isinstance(there, dict) else {}
    kept = (found.get("schema"), found.get("schema_version"))
    if kept != (SCHEMA, SCHEMA_VERSION):
        raise ValueError(
            f"{path}: is of schema {kept[0]} version {kept[1]}, this program writes {SCHEMA} "
            f"version {SCHEMA_VERSION}; give another --out"
        )


def _systems(asked: FaceBenchmark) -> tuple[System, ...]:
    found = [] if asked.truth is None else [read_truth(asked.truth)]
    found += [read_system(folder, "motion") for folder in asked.motions]
    found += [read_system(folder, "film") for folder in asked.videos]
    check_names(found)
    return tuple(found)


def _readers(asked: FaceBenchmark) -> list[tuple[LipReader, Path]]:
    paths: list[tuple[str | None, Path]] = [(None, path) for path in asked.lip_readers]
    if asked.bundled_reader:
        paths.insert(0, (BUNDLED, default_lip_reader()))
    found = [(load_lip_reader(path, name), path) for name, path in paths]
    names = [reader.name for reader, _ in found]
    if not names:
        raise ValueError("no lip reader; give --lip-readers, or leave the bundled one in")
    if len(set(names)) < len(names):
        raise ValueError(f"lip readers {', '.join(names)} share a name; rename a file or folder")
    return found


def _judge(asked: FaceBenchmark) -> tuple[Path, str] | None:
    """Folder and SHA-256 of the judge."""
    if asked.judge is None and not asked.bundled_judge:
        return None
    folder = default_judge() if asked.judge is None else asked.judge
    _, info = load_sync_expert(folder, "judge")
    return folder, info["weights_sha256"]


def _track(
    asked: FaceBenchmark, plan: Plan, readers: Sequence[LipReader], say: Callable[[str], None]
) -> dict[str, list[str]]:
    """Track the films of all film systems; which utterances of each have no face."""
    films = [system for system in plan.systems if system.kind == "film"]
    if not films:
        return {}
    if asked.landmarker_model is None:
        raise ValueError(
            f"{films[0].folder}: films are tracked; give --landmarker-model face_landmarker.task "
            "('avsr fetch face-landmarker' gets it)"
        )
    check_landmarker(asked.landmarker_model)
    kinds = {one.crops: one.alignment for one in readers if one.alignment is not None}
    jobs = [
        (
            system.files[file_stem(one.utterance_id)],
            kept_path(plan.out, system, one),
            asked.landmarker_model,
            kinds,
        )
        for system in films
        for one in plan.utterances
    ]
    for _ in in_processes(track, jobs, None, asked.processes):
        pass
    without = {system.name: write_faces(plan.out, system, plan.utterances) for system in films}
    for name, lost in without.items():
        if lost:
            say(
                f"system {name}: no face in {len(lost)} films, counted as nothing read: "
                f"{', '.join(lost)}"
            )
    return without


def _measured(plan: Plan, processes: int) -> dict[str, list[dict[str, Any]]]:
    """For each face what is kept of each utterance."""
    from tqdm import tqdm

    shares = list(in_processes(sums, [(plan, one) for one in plan.utterances], None, processes))
    controls = controls_of(plan, shares)
    jobs = [(one, controls) for one in plan.utterances]
    work = in_processes(measure, jobs, plan, processes)
    for _ in tqdm(work, desc="read", total=len(jobs), unit="utterance", delay=2.0):
        pass
    return {
        face: [read_json(kept_file(plan.out, face, one)) for one in plan.utterances]
        for face in face_names(plan)
    }


def face_names(plan: Plan) -> list[str]:
    """Every face of the report, in its order."""
    names: list[str] = []
    for system in plan.systems:
        names += [system.name, f"{system.name}{FILM}"] if system.kind == "film" else [system.name]
    return [*names, *CONTROLS, *(f"{SHIFTED}{shift:+d}" for shift in SHIFTS)]


def _report(
    asked: FaceBenchmark,
    plan: Plan,
    matched: Matched,
    readers: Sequence[LipReader],
    judge: tuple[Path, str] | None,
    records: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    draws = draws_of(plan.utterances, asked.seed)
    rows: list[dict[str, Any]] = []
    readings = {}
    for reader in readers:
        own = {
            face: reading_rows(face, plan.utterances, found, reader.sha256)
            for face, found in records.items()
        }
        readings[reader.name] = reading_figures(own, plan.base, draws)
        rows += [{"lip_reader": reader.name, **row} for part in own.values() for row in part]
    moving = {face: found for face, found in records.items() if not face.endswith(FILM)}
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "utterances": len(plan.utterances),
        "speakers": len({one.speaker_id for one in plan.utterances}),
        "left_out": [{"utterance_id": name, "lacks": lacks} for name, lacks in matched.left_out],
        "texts_that_no_system_speaks": matched.unused_texts,
        "length_tolerance_s": LENGTH_TOLERANCE_S,
        "clustered_by": draws.clustered_by,
        "seed": asked.seed,
        "controls_of": plan.base,
        "controls_note": _controls_note(plan.base),
        "faces": list(records),
        "systems": {system.name: _facts(plan, system) for system in plan.systems},
        "lip_readers": {
            one.name: {"sha256": one.sha256, "kind": one.kind, "mouth_share": one.mouth_share}
            for one in readers
        },
        "judge": None if judge is None else {"folder": judge[0].name, "sha256": judge[1]},
        "text_sha256": sha256_file(asked.text),
        "drawing": dict(style_facts()),
        "definitions": {
            name: {"unit": MEASURES[name].unit, "what": MEASURES[name].what} for name in MEASURED
        },
        "readings": readings,
        "motion": motion_figures(moving, plan.base, draws),
        "rows": rows,
        **provenance(),
    }


def _controls_note(base: str) -> str:
    if base == TRUTH:
        return "controls are made from the truth"
    return (
        f"no truth was given: controls are made from system {base!r}, the first, which need not be "
        "better than they are; there are no errors against a truth"
    )


def _facts(plan: Plan, system: System) -> dict[str, Any]:
    """What a report says about a system, JSON-ready."""
    digest = hashlib.sha256()
    for one in plan.utterances:
        digest.update(sha256_file(system.files[file_stem(one.utterance_id)]).encode())
    told = plan.settings.get(system.name)
    return {
        "kind": system.kind,
        "folder": system.folder.resolve().name,
        "files": len(system.files),
        "files_not_read": list(system.unused),
        "files_sha256": digest.hexdigest(),
        "source": "" if told is None else told.source,
        "said": None if told is None else _said(told),
    }


def _said(told: MotionSettings) -> dict[str, Any]:
    named = replace(told, template=None)
    return {
        "unit": named.unit,
        "fps": named.fps,
        "topology": named.topology,
        "mm_per_unit": named.mm_per_unit,
        "template": None if told.template is None else told.template.name,
    }
