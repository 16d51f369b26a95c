"""Other people's texts to results: which mixture each is of, and then :mod:`avsr.score`.

A text is matched by the mixture's id, which is the name of its sound file (with or without folder
and suffix). Files of this project hold whole hypotheses (:class:`avsr.schema.Hypothesis`) and say
themselves what they are of.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from avsr.conditions import Bootstrap, Provenance, ScoringError
from avsr.data.mixtures import MixtureManifest, MixtureRow, read_manifest
from avsr.files import read_jsonl, sha256_file, write_jsonl
from avsr.hypothesis_files import read_hypothesis_file
from avsr.noisy_test import expected_of, protocol_of, read_test_facts
from avsr.noisy_test_files import mixture_of
from avsr.schema import Hypothesis, Modality, VisualSource
from avsr.score import score
from avsr.training.run_folder import provenance


@dataclass(frozen=True)
class SystemTexts:
    """A file of texts and the system that wrote it; ``name`` empty: the file says so itself."""

    path: Path
    name: str = ""

    @classmethod
    def parse(cls, words: str) -> SystemTexts:
        """``whisper=texts.tsv`` or a plain path; the name is else the file's stem."""
        name, equals, path = words.partition("=")
        return cls(Path(path), name) if equals else cls(Path(words))


@dataclass(frozen=True)
class Given:
    """What the systems of a call were given."""

    modality: Modality = "audio"
    visual_source: VisualSource = "none"
    video_condition: str = "clean"


def gather(
    test_folder: Path,
    files: Sequence[SystemTexts],
    out: Path,
    *,
    given: Given | None = None,
    encoding: str | None = None,
    order: Path | None = None,
) -> tuple[MixtureManifest, list[str]]:
    """Write one ``hypotheses.jsonl`` of all systems.

    Args:
        test_folder: of :func:`avsr.noisy_test_building.build`.
        files: at least one.
        out: JSONL file to write.
        given: what the systems heard and saw, where a file does not say so.
        encoding: of the files, see :func:`avsr.hypothesis_files.read_hypothesis_file`.
        order: the list that was decoded, for fairseq's numbers; ``None``: the manifest's order.

    Returns:
        the test's manifest, and lines for the user: what was read, and what was passed over.

    Raises:
        ScoringError: a text of an unknown mixture or a second one of the same; file and line.
        ValueError: what :func:`read_hypothesis_file` refuses.
    """
    facts, manifest = read_test_facts(test_folder), read_manifest(test_folder / "mixtures.jsonl")
    people = {name: (speaker, text) for name, speaker, text in facts["utterances"]}
    mixtures, given = mixture_of(manifest.rows), given or Given()
    names = _order(order, manifest)
    rows: list[dict[str, Any]] = []
    notes = []
    for one in files:
        if _is_ours(one.path):
            own = [Hypothesis.from_row(row) for row in read_jsonl(one.path)]
            systems = sorted({row.system for row in own})
            if one.name and len(systems) > 1:
                raise ScoringError(
                    f"{one.path}: holds {', '.join(systems)}, which cannot all be called "
                    f"{one.name}; leave the name away"
                )
            if one.name:
                own, systems = [replace(row, system=one.name) for row in own], [one.name]
            rows += [row.to_row() for row in own]
            notes.append(f"{one.path}: {len(own)} hypotheses of {', '.join(systems)}")
            continue
        written = read_hypothesis_file(one.path, encoding=encoding, order=names)
        system = one.name or one.path.stem
        seen: dict[str, int] = {}
        for text in written.texts:
            mixture = _mixture(text.name, mixtures, f"{one.path}:{text.line}")
            if mixture.mixture_id in seen:
                raise ScoringError(
                    f"{one.path}:{text.line}: mixture {mixture.mixture_id} is there twice, first "
                    f"on line {seen[mixture.mixture_id]}; keep one"
                )
            seen[mixture.mixture_id] = text.line
            speaker, reference = people[mixture.utterance_id]
            rows.append(
                Hypothesis(
                    utterance_id=mixture.utterance_id,
                    speaker_id=speaker,
                    system=system,
                    modality=given.modality,
                    visual_source=given.visual_source,
                    noise_type=mixture.noise_type,
                    snr_db=mixture.snr_db,
                    seed=mixture.seed,
                    reference=reference,
                    hypothesis=text.text,
                    video_condition=given.video_condition,
                    reverberation=mixture.reverberation,
                ).to_row()
            )
        lost = len(mixtures) - len(seen)
        notes.append(
            f"{one.path}: {len(seen)} of {len(mixtures)} mixtures of {system}, read as "
            f"{written.layout}; {lost} missing (all their words count as deleted), "
            f"{written.empty_lines} empty lines passed over"
        )
    write_jsonl(out, rows)
    return manifest, notes


def score_test(
    test_folder: Path,
    hypotheses: Path,
    manifest: MixtureManifest,
    *,
    systems: dict[str, str] | None = None,
    bootstrap: Bootstrap | None = None,
    **told: Any,
) -> dict[str, Any]:
    """Results of a test's ``hypotheses.jsonl``.

    Args:
        test_folder: of the test.
        hypotheses: of :func:`gather`, or of our own decoding.
        manifest: of the test.
        systems: what is known of the systems (hashes, versions), for the provenance.
        bootstrap: resampling.
        told: further arguments of :func:`avsr.noisy_test.protocol_of`.

    Raises:
        ScoringError: see :func:`avsr.score.score`.
    """
    facts, origin = read_test_facts(test_folder), provenance()
    return score(
        hypotheses,
        expected=expected_of(facts),
        protocol=protocol_of(facts, manifest, **told),
        provenance=Provenance(
            command=origin["command"],
            commit=origin["commit"] or "unknown",
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            hardware=f"{origin['cpu_count']} cores {origin['processor']} {origin['machine']}",
            duration_s=None,
            versions={name: one for name, one in origin["versions"].items() if one},
            manifest_sha256=manifest.sha256,
            data_sha256={
                "list": facts["list_sha256"],
                "test.json": sha256_file(test_folder / "test.json"),
            },
            checkpoint_sha256=systems or {},
        ),
        bootstrap=bootstrap,
    )


def _is_ours(path: Path) -> bool:
    """Whether a file holds whole hypotheses, with their conditions."""
    if path.suffix != ".jsonl" or not path.is_file():
        return False
    with open(path, encoding="utf-8", errors="replace") as lines:
        first = next((line for line in lines if line.strip()), "")
    try:
        row = json.loads(first)
    except json.JSONDecodeError:
        return False
    return isinstance(row, dict) and {"noise_type", "snr_db", "visual_source"} <= row.keys()


def _order(path: Path | None, manifest: MixtureManifest) -> list[str]:
    if path is None:
        return [row.mixture_id for row in manifest.rows]
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    names = [line.split("\t")[0].strip() for line in lines if line.strip()]
    return [name for name in names if name not in ("mixture_id", "utterance_id", "id")]


def _mixture(name: str, mixtures: dict[str, MixtureRow], where: str) -> MixtureRow:
    """The mixture of a name; a path is taken by its last part, without ``.wav``."""
    for candidate in (name, name.replace("\\", "/").rpartition("/")[2].removesuffix(".wav")):
        if candidate in mixtures:
            return mixtures[candidate]
    example = next(iter(mixtures))
    raise ScoringError(
        f"{where}: {name!r} is none of the {len(mixtures)} mixtures of the test; ids look like "
        f"{example} (list.tsv of the rendered test has them all)"
    )
