"""What a careful reviewer of a noisy test looks for before anything is decoded.

Findings are as in :mod:`avsr.audit`: an ``error`` means that figures would not be what they say.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from avsr.audit import MIN_SEEDS, finding
from avsr.data.mixtures import TOLERANCE_DB, MixtureRow, render_mixture
from avsr.data.noise_folders import files_of_test
from avsr.data.published_protocols import FAULTS
from avsr.files import MediaError, read_jsonl, sha256_file
from avsr.noise import stable_hash
from avsr.noisy_test import NoisyTest
from avsr.noisy_test_files import write_mixture

REDERIVED_SHARE = 0.01


def audit_test(
    test: NoisyTest, *, share: float = REDERIVED_SHARE, rendered: Path | None = None
) -> dict[str, Any]:
    """Look at every level, and make some mixtures again.

    Args:
        test: a built test.
        share: of the mixtures that are derived again from speech, noise and room, in (0, 1]; at
            least one, chosen by a hash of their ids.
        rendered: folder of :func:`avsr.noisy_test_files.render_test`; the chosen files must hold
            just these samples, and none may be missing.

    Returns:
        ``passed``, ``findings``, ``num_mixtures``, ``num_rederived``, ``manifest_sha256``.

    Raises:
        ValueError: an impossible share.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} of the mixtures must be above 0 and at most 1")
    rows = sorted(test.manifest.rows, key=lambda row: stable_hash("audit", row.mixture_id))
    chosen = rows[: max(1, round(share * len(rows)))]
    findings = [
        *_levels(test.manifest.rows),
        *_protocol(test),
        *_noise_files(test),
        *_rederived(test, chosen, rendered),
    ]
    return {
        "passed": all(one["level"] != "error" for one in findings),
        "findings": findings,
        "num_mixtures": len(rows),
        "num_rederived": len(chosen),
        "manifest_sha256": test.manifest.sha256,
    }


def _levels(rows: Iterable[MixtureRow]) -> list[dict[str, str]]:
    """Every noisy mixture has the level that its row says."""
    off: dict[tuple[str, float], list[MixtureRow]] = {}
    for row in rows:
        if row.snr_db is None:
            continue
        of_level = row.level == "utterance"
        found = row.achieved_snr_db_utterance if of_level else row.achieved_snr_db_active_speech
        if found is None or abs(found - row.snr_db) > TOLERANCE_DB:
            off.setdefault((row.noise_type, row.snr_db), []).append(row)
    findings = []
    for (noise_type, snr), wrong in sorted(off.items()):
        first = wrong[0]
        found = first.achieved_snr_db_utterance
        heard = "no noise at all" if found is None else f"{found:.2f} dB over the utterance"
        faults = sorted({fault for row in wrong for fault in row.faults})
        because = f"; faults asked for: {', '.join(faults)}" if faults else ""
        findings.append(
            finding(
                "achieved_snr",
                "error",
                f"{noise_type} {snr:g} dB",
                f"{len(wrong)} mixtures do not have this level; {first.mixture_id} has "
                f"{heard}{because}",
            )
        )
    return findings


def _protocol(test: NoisyTest) -> list[dict[str, str]]:
    facts, rows = test.facts, test.manifest.rows
    findings = [
        finding("published_fault", "warning", fault, f"asked for: {FAULTS[fault]}")
        for fault in facts["faults"]
    ]
    if facts["shared_with_training"]:
        findings.append(
            finding(
                "shared_noise_files",
                "error",
                "noise",
                f"in training too: {', '.join(facts['shared_with_training'])}",
            )
        )
    if facts["preset_left_out"]:
        findings.append(
            finding(
                "preset",
                "warning",
                str(facts["preset"]),
                f"its noise {', '.join(facts['preset_left_out'])} is not in your folders",
            )
        )
    if len(facts["seeds"]) < MIN_SEEDS:
        findings.append(
            finding(
                "noise_seeds",
                "warning",
                "protocol",
                f"{len(facts['seeds'])} noise seed(s); the protocol asks for {MIN_SEEDS} or more",
            )
        )
    clipped = Counter(row.noise_type for row in rows if row.clipped)
    findings += [
        finding("clipped", "note", kind, f"{count} mixtures exceed full scale; files are scaled")
        for kind, count in sorted(clipped.items())
    ]
    ill_posed = sum(row.ill_posed for row in rows)
    if ill_posed:
        findings.append(
            finding(
                "ill_posed",
                "note",
                "one_talker",
                f"{ill_posed} mixtures at or below 0 dB: nothing says whom to transcribe",
            )
        )
    return findings


def _noise_files(test: NoisyTest) -> list[dict[str, str]]:
    """The files are there with the bytes that they had, and long enough or said to be looped."""
    findings = []
    hashes = {use.path: use.sha256 for row in test.manifest.rows for use in row.noise_files}
    for path in files_of_test(test.noise):
        if path not in hashes:
            continue  # never drawn
        file = test.noise.file(path)
        if not file.is_file():
            findings.append(finding("noise_files", "error", path, f"{file} is not there"))
        elif sha256_file(file) != hashes[path]:
            findings.append(finding("noise_files", "error", path, "was changed since the build"))
    return findings


def _rederived(
    test: NoisyTest, chosen: Iterable[MixtureRow], rendered: Path | None
) -> list[dict[str, str]]:
    """Mixtures made again, from the first sample on."""
    findings = []
    bank = test.bank()
    listed = {} if rendered is None else _listed(rendered)
    if rendered is not None:
        lacking = [row for row in test.manifest.rows if row.mixture_id not in listed]
        gone = [name for name, row in listed.items() if not (rendered / row["path"]).is_file()]
        if lacking or gone:
            first = lacking[0].mixture_id if lacking else gone[0]
            findings.append(
                finding(
                    "rendered",
                    "error",
                    str(rendered),
                    f"{len(lacking) + len(gone)} mixtures have no file, the first is {first}",
                )
            )
    with tempfile.TemporaryDirectory() as scratch:
        for row in chosen:
            try:
                speech = test.utterances.waveform(row.utterance_id)
                mixture = render_mixture(row, speech, bank, test.rooms)
            except (ValueError, MediaError) as error:
                findings.append(finding("rederived", "error", row.mixture_id, str(error)))
                continue
            file = None if rendered is None else rendered / f"wav/{row.mixture_id}.wav"
            if file is not None and file.is_file():
                again = Path(scratch) / "again.wav"
                write_mixture(again, mixture)
                if sha256_file(again) != sha256_file(file):
                    text = f"{file} does not hold what the manifest says; render it again"
                    findings.append(finding("rendered", "error", row.mixture_id, text))
    return findings


def _listed(rendered: Path) -> dict[str, dict[str, Any]]:
    path = rendered / "rendered.jsonl"
    if not path.is_file():
        return {}
    return {row["mixture_id"]: row for row in read_jsonl(path)}
