"""Decode a test split over noise conditions and visual sources into ``hypotheses.jsonl``.

Visual features do not depend on the noise: they are encoded once an utterance, and so is the audio
of each mixture, whatever number of visual sources it is joined with.
"""

# B mixtures of one utterance, T frames, P lip points, S samples, D width

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from avsr.data.collate import collate
from avsr.data.dataset import features_of
from avsr.data.manifest import decode_array
from avsr.data.mixtures import MixtureRow, render_mixture
from avsr.data.noise_bank import NoiseBank
from avsr.data.rooms import DRY, RoomBank
from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.decode.lm import LanguageModel
from avsr.files import read_jsonl, write_jsonl
from avsr.models.layers import mask_of_lengths
from avsr.models.recognizer import Recognizer
from avsr.schema import Hypothesis
from avsr.text import Tokenizer, normalise
from avsr.training.recognizer import plain_example
from avsr.video_conditions import CLEAN_VIDEO, disturbance

if TYPE_CHECKING:
    import datasets

# float32 waveforms (S,) to lips (T, P, 3) in mm, one for one
LipGenerator = Callable[[list[np.ndarray]], list[np.ndarray]]
Encoded = tuple[Tensor, Tensor]  # (B, T, D) and presence (B, T)

PREFIX_BEAM = DecodingConfig("ctc", beam_size=10)
REAL_SOURCES = ("mouth_crops", "tracked_lips")
GENERATED_SOURCES = ("generated_from_clean", "generated_from_noisy", "generated_from_other")


@dataclass(frozen=True)
class System:
    """A recogniser under test.

    ``visual_sources`` are the visual inputs that it is decoded with beside ``"none"``; joint
    decoding with an ``lm_weight`` asks ``language_model``.
    """

    name: str
    model: Recognizer
    tokenizer: Tokenizer
    visual_sources: tuple[str, ...] = ()
    language_model: LanguageModel | None = None


@dataclass(frozen=True)
class VisualInputs:
    """Where lips that were not tracked come from."""

    generate: LipGenerator | None = None  # needed by the generated_* sources
    # Takes the place of ``generate`` for generated_from_noisy: it may be made for noise.
    generate_from_noisy: LipGenerator | None = None
    still_lips: Mapping[str, np.ndarray] | None = None  # speaker id to (P, 3) mm, for "still"
    other_audio: Mapping[str, np.ndarray] | None = None  # utterance id to another's clean audio


@dataclass(frozen=True)
class Seen:
    """What a recogniser is shown: where the mouth comes from, and what was done to it."""

    source: str = "none"
    condition: str = CLEAN_VIDEO


def fit_frames(lips: np.ndarray, num_frames: int) -> np.ndarray:
    """Lips (T', P, 3) cut to ``num_frames``, or their last frame held."""
    index = np.minimum(np.arange(num_frames), len(lips) - 1)
    return lips[index]


class OtherAudio(Mapping[str, np.ndarray]):
    """Utterance id to the audio (S,) of another utterance, read when it is asked for."""

    def __init__(self, rows: datasets.Dataset, places: Mapping[str, int]) -> None:
        self.sounds, self.places = rows.select_columns(["audio"]), places

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __getitem__(self, utterance_id: str) -> np.ndarray:
        return decode_array(self.sounds[self.places[utterance_id]]["audio"])


def another_audio(rows: datasets.Dataset) -> OtherAudio:
    """For each utterance the audio of the next one of the split that has another text."""
    ids, texts = list(rows["utterance_id"]), list(rows["text"])
    chosen = {}
    for index, name in enumerate(ids):
        others = ((index + step) % len(ids) for step in range(1, len(ids)))
        different = next((i for i in others if texts[i] != texts[index]), None)
        if different is None:
            raise ValueError(
                f"utterance {name}: no utterance with another text in a split of {len(ids)}; "
                "the mismatched arm needs two different sentences"
            )
        chosen[name] = different
    return OtherAudio(rows, chosen)


def decode_split(
    rows: datasets.Dataset,
    mixtures: Sequence[MixtureRow],
    bank: NoiseBank,
    systems: Sequence[System],
    inputs: VisualInputs,
    out: Path,
    *,
    decoding: DecodingConfig = PREFIX_BEAM,
    rooms: RoomBank | None = None,
    video_conditions: Sequence[str] = (CLEAN_VIDEO,),
    process_index: int = 0,
    num_processes: int = 1,
    quiet: bool = False,
) -> None:
    """Decode every utterance in every condition; each finished utterance is a file of its own.

    Args:
        rows: prepared test split.
        mixtures: of the mixture manifest; those with ``snr_db`` None are the clean condition.
        bank: the noises that the manifest names.
        systems: recognisers; one with visual sources is also decoded without audio.
        inputs: sources of generated, still and mismatched lips.
        out: folder of ``<utterance>.jsonl``; what is there is not decoded again.
        decoding: how logits become text.
        rooms: measured responses, where the manifest has such rooms.
        video_conditions: what is done to real pictures and tracked lips, each beside every mixture;
            those that change pixels are left out for lips. Faces that are made have none.
        process_index: this process takes utterances ``process_index::num_processes``.
        quiet: no progress bar.
    """
    of_utterance: dict[str, list[MixtureRow]] = {}
    for mixture in mixtures:
        of_utterance.setdefault(mixture.utterance_id, []).append(mixture)
    out.mkdir(parents=True, exist_ok=True)
    mine = range(process_index, len(rows), num_processes)
    for index in tqdm(mine, desc="decode", unit="utterance", disable=quiet or process_index > 0):
        row = rows[index]
        name = row["utterance_id"]
        path = hypotheses_file(out, name)
        if path.exists():
            continue
        if name not in of_utterance:
            raise ValueError(f"utterance {name} is not in the mixture manifest; build it again")
        speech = decode_array(row["audio"])
        sounds = [render_mixture(one, speech, bank, rooms) for one in of_utterance[name]]
        decoder = _UtteranceDecoder(
            row, of_utterance[name], sounds, inputs, decoding, video_conditions
        )
        found = [h.to_row() for system in systems for h in decoder.decode(system)]
        write_jsonl(path, found)


def is_decoded(folder: Path, rows: datasets.Dataset) -> bool:
    """Whether every utterance of a split has its file in ``folder``."""
    return not _not_decoded(folder, rows)


def hypotheses_file(folder: Path, utterance_id: str) -> Path:
    """Where the hypotheses of an utterance stand, until :func:`merge_hypotheses`."""
    return folder / f"{utterance_id.replace('/', '__')}.jsonl"


def _not_decoded(folder: Path, rows: datasets.Dataset) -> list[str]:
    return [name for name in rows["utterance_id"] if not hypotheses_file(folder, name).exists()]


def merge_hypotheses(folder: Path, rows: datasets.Dataset, path: Path) -> int:
    """Join the utterances' files in the split's order into ``path``; returns the row count.

    Raises:
        ValueError: an utterance has not been decoded; some are named.
    """
    files = [hypotheses_file(folder, name) for name in rows["utterance_id"]]
    missing = _not_decoded(folder, rows)
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(files)} utterances are not decoded yet, for example "
            f"{missing[:3]}; run the decoding again, finished ones are kept"
        )
    return write_jsonl(path, (row for file in files for row in read_jsonl(file)))


class _UtteranceDecoder:
    """All conditions of one utterance."""

    def __init__(
        self,
        row: dict[str, Any],
        mixtures: Sequence[MixtureRow],
        waveforms: list[np.ndarray],
        inputs: VisualInputs,
        decoding: DecodingConfig,
        video_conditions: Sequence[str],
    ) -> None:
        self.row, self.mixtures, self.inputs, self.decoding = row, mixtures, inputs, decoding
        self.num_frames: int = row["num_frames"]
        self.waveforms, self.video_conditions = waveforms, video_conditions
        self._lips: dict[str, list[np.ndarray]] = {}

    @torch.no_grad()
    def decode(self, system: System) -> Iterable[Hypothesis]:
        model, size = system.model, len(self.mixtures)
        config = model.config
        valid = mask_of_lengths(torch.tensor([self.num_frames]), self.num_frames)
        streams: dict[Any, Encoded] = {}
        if "audio" in config.streams:
            features = np.stack([features_of(w, config.num_mels) for w in self.waveforms])
            every = valid.expand(size, -1)
            streams["audio"] = model.encode("audio", torch.from_numpy(features), every), every
            yield from self._texts(system, "audio", Seen(), streams, size)
        for seen in self._seen(system):
            stream, (values, present) = self._visual(system, seen)
            if streams:
                # A noise-independent source is one row, expanded to all mixtures.
                joined = {stream: (values.expand(size, -1, -1), present.expand(size, -1))}
                yield from self._texts(system, "audio_visual", seen, streams | joined, size)
            if seen.source != "generated_from_noisy":
                yield from self._texts(system, "video", seen, {stream: (values, present)}, 1)

    def _seen(self, system: System) -> Iterable[Seen]:
        """What the system is shown; a condition that means nothing for a source is left out."""
        for source in system.visual_sources:
            conditions = self.video_conditions if source in REAL_SOURCES else (CLEAN_VIDEO,)
            for condition in conditions:
                does = disturbance(condition, self.num_frames, self.row["utterance_id"])
                if source == "mouth_crops" or not does.needs_pictures:
                    yield Seen(source, condition)

    def _visual(self, system: System, seen: Seen) -> tuple[str, Encoded]:
        stream = "crops" if seen.source == "mouth_crops" else "lips"
        clips = [None] if seen.source in REAL_SOURCES else self._lips_of(seen.source)
        mels = system.model.config.num_mels
        batch = collate(
            [
                plain_example(
                    self.row, (stream,), num_mels=mels, lips=lips, video_condition=seen.condition
                )
                for lips in clips
            ]
        )
        valid = mask_of_lengths(batch.lengths, self.num_frames)
        values, present = batch.streams(valid)[stream]
        return stream, (system.model.encode(stream, values, present), present)  # type: ignore[arg-type]

    def _lips_of(self, source: str) -> list[np.ndarray]:
        """One clip, or one for each mixture, of a source that was not tracked."""
        if source not in self._lips:
            self._lips[source] = [
                fit_frames(lips, self.num_frames) for lips in self._make_lips(source)
            ]
        return self._lips[source]

    def _make_lips(self, source: str) -> list[np.ndarray]:
        name = self.row["utterance_id"]
        if source == "still":
            if self.inputs.still_lips is None:
                raise ValueError("visual source 'still' needs the neutral lips of each speaker")
            return [self.inputs.still_lips[self.row["speaker_id"]][None]]
        if source not in GENERATED_SOURCES or self.inputs.generate is None:
            raise ValueError(f"visual source {source!r} needs a lip generator; train a student")
        if source == "generated_from_clean":
            return self.inputs.generate([decode_array(self.row["audio"])])
        if source == "generated_from_noisy":
            made_for_noise = self.inputs.generate_from_noisy or self.inputs.generate
            return made_for_noise([w.astype(np.float32) for w in self.waveforms])
        if self.inputs.other_audio is None or name not in self.inputs.other_audio:
            raise ValueError(f"utterance {name}: no other utterance's audio was given")
        return self.inputs.generate([self.inputs.other_audio[name]])

    def _texts(
        self,
        system: System,
        modality: str,
        seen: Seen,
        streams: dict[Any, Encoded],
        size: int,
    ) -> Iterable[Hypothesis]:
        lengths = torch.full((size,), self.num_frames)
        valid = mask_of_lengths(lengths, self.num_frames)
        memory = system.model.fuse(streams, valid)
        found = decode_memory(system.model, memory, lengths, self.decoding, system.language_model)
        for number, tokens in enumerate(found):
            mixture = self.mixtures[number] if modality != "video" else None
            noisy = mixture is not None and mixture.snr_db is not None
            yield Hypothesis(
                utterance_id=self.row["utterance_id"],
                speaker_id=self.row["speaker_id"],
                system=system.name,
                modality=modality,  # type: ignore[arg-type]
                visual_source=seen.source,  # type: ignore[arg-type]
                noise_type=mixture.noise_type if mixture and noisy else "none",
                snr_db=mixture.snr_db if mixture and noisy else None,
                seed=mixture.seed if mixture and noisy else None,
                reference=self.row["text"],
                hypothesis=normalise(system.tokenizer.decode(tokens)),
                video_condition=seen.condition,
                reverberation=mixture.reverberation if mixture else DRY,
            )
