"""The mixtures of a noisy test as sound files, for recognisers that read nothing else.

    <folder>/wav/<mixture id>.wav   16 kHz, 16 bit, mono
    <folder>/list.tsv               mixture id, path
    <folder>/rendered.jsonl         mixture id, path, sha256, factor on the whole mixture

Speech and noise are scaled together, only where the sum would clip, and by the factor that
``rendered.jsonl`` names: the SNR stays what the manifest says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avsr.data.mixtures import MixtureRow, render_mixture
from avsr.files import read_jsonl, sha256_file, write_atomically, write_jsonl, write_wav
from avsr.noise import to_int16
from avsr.noisy_test import NoisyTest, load
from avsr.shared_work import in_processes
from avsr.training.run_folder import same_run

LIST_HEAD = "mixture_id\tpath"


def render_test(test: NoisyTest, out: Path, *, processes: int = 1) -> int:
    """Write every mixture of a test; what is there from a run that was stopped is not made again.

    Args:
        test: a built test.
        out: folder to write.
        processes: that share the utterances; the files are the same bytes for any number.

    Returns:
        how many mixtures there are.

    Raises:
        ValueError: ``out`` holds the mixtures of another test, or sound or noise has changed.
    """
    same_run(out / "rendered.config.json", {"manifest_sha256": test.manifest.sha256}, "mixtures")
    names = list(test.mixtures_of())
    in_processes(_Render(test.folder, out), names, processes, "render")
    rows = [row for name in names for row in read_jsonl(_part(out, name))]
    order = {row.mixture_id: place for place, row in enumerate(test.manifest.rows)}
    rows.sort(key=lambda row: order[row["mixture_id"]])
    write_jsonl(out / "rendered.jsonl", rows)
    with write_atomically(out / "list.tsv") as temporary:
        lines = [f"{row['mixture_id']}\t{row['path']}" for row in rows]
        temporary.write_text("\n".join([LIST_HEAD, *lines]) + "\n", encoding="utf-8")
    return len(rows)


@dataclass(frozen=True)
class _Render:
    test_folder: Path
    out: Path

    def __call__(self, names: Sequence[str]) -> None:
        test = load(self.test_folder)
        bank, mixtures = test.bank(), test.mixtures_of()
        for name in names:
            part = _part(self.out, name)
            if part.exists():
                continue
            speech = test.utterances.waveform(name)
            rows = []
            for row in mixtures[name]:
                path = f"wav/{row.mixture_id}.wav"
                factor = write_mixture(
                    self.out / path, render_mixture(row, speech, bank, test.rooms)
                )
                rows.append(
                    {
                        "mixture_id": row.mixture_id,
                        "path": path,
                        "sha256": sha256_file(self.out / path),
                        "factor": factor,
                    }
                )
            write_jsonl(part, rows)


def write_mixture(path: Path, waveform: Any) -> float:
    """Write a mixture as 16 bits; returns the factor on the whole of it, 1.0 unless it clipped."""
    samples, factor = to_int16(waveform)
    write_wav(path, samples)
    return factor


def _part(out: Path, utterance_id: str) -> Path:
    return out / "parts" / f"{utterance_id.replace('/', '__')}.jsonl"


def mixture_of(rows: Sequence[MixtureRow]) -> dict[str, MixtureRow]:
    """Rows by mixture id."""
    return {row.mixture_id: row for row in rows}
