"""Decode a test split with Whispers, by ear and with the mouth, into ``hypotheses.jsonl``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from avsr.data.collate import collate
from avsr.data.manifest import decode_array
from avsr.data.mixtures import MixtureRow, render_mixture
from avsr.data.noise_bank import NoiseBank
from avsr.evaluate import hypotheses_file
from avsr.files import write_jsonl
from avsr.models.whisper_flamingo import WhisperFlamingo
from avsr.pretrained.whisper import WhisperTokenizer
from avsr.schema import Hypothesis
from avsr.training.recognizer import plain_example
from avsr.training.whisper import read_batch

if TYPE_CHECKING:
    import datasets

VISUAL_SOURCE = {None: "none", "crops": "mouth_crops", "lips": "tracked_lips"}


@dataclass(frozen=True)
class WhisperSystem:
    """A Whisper under test; it looks at what it was built with."""

    name: str
    model: WhisperFlamingo
    tokenizer: WhisperTokenizer


def decode_whispers(
    rows: datasets.Dataset,
    mixtures: Sequence[MixtureRow],
    bank: NoiseBank,
    systems: Sequence[WhisperSystem],
    out: Path,
    *,
    beam_size: int,
    process_index: int = 0,
    num_processes: int = 1,
) -> None:
    """Decode every utterance in every mixture; each finished utterance is a file of its own.

    Args:
        rows: prepared test split.
        mixtures: of the mixture manifest.
        bank: the noises that the manifest names.
        systems: Whispers under test.
        out: folder of the files; what is there is not decoded again.
        beam_size: 1 is greedy.
        process_index: this process takes utterances ``process_index::num_processes``.
    """
    of_utterance: dict[str, list[MixtureRow]] = {}
    for mixture in mixtures:
        of_utterance.setdefault(mixture.utterance_id, []).append(mixture)
    mine = range(process_index, len(rows), num_processes)
    for index in tqdm(mine, desc="decode", unit="utterance", disable=process_index > 0):
        row = rows[index]
        path = hypotheses_file(out, row["utterance_id"])
        if path.exists():
            continue
        wanted = of_utterance.get(row["utterance_id"])
        if wanted is None:
            raise ValueError(
                f"utterance {row['utterance_id']} is not in the mixture manifest; build it again"
            )
        speech = decode_array(row["audio"])
        sounds = [render_mixture(mixture, speech, bank) for mixture in wanted]
        found = []
        for system in systems:
            visual = system.model.config.visual
            streams = ("audio",) if visual is None else ("audio", visual)
            batch = collate(
                [plain_example(row, streams, num_mels=None, waveform=sound) for sound in sounds]
            )
            texts = read_batch(system.model, batch, system.tokenizer, beam_size)
            found += [
                _hypothesis(row, system, mixture, text).to_row()
                for mixture, text in zip(wanted, texts, strict=True)
            ]
        write_jsonl(path, found)


def _hypothesis(
    row: dict[str, Any], system: WhisperSystem, mixture: MixtureRow, text: str
) -> Hypothesis:
    visual = system.model.config.visual
    return Hypothesis(
        utterance_id=row["utterance_id"],
        speaker_id=row["speaker_id"],
        system=system.name,
        modality="audio" if visual is None else "audio_visual",
        visual_source=VISUAL_SOURCE[visual],  # type: ignore[arg-type]
        noise_type=mixture.noise_type,
        snr_db=mixture.snr_db,
        seed=mixture.seed,
        reference=row["text"],
        hypothesis=text,
    )
