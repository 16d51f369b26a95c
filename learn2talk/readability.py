"""How readable faces are: drawn mouths, a lip reader that hears nothing, CER, WER, VER and VWER.

Every face is drawn on one neutral face by one drawer, so that only its motion differs. The reader
must not have been a loss of the students that it reads. Rates are of the corpus, with intervals
over speakers (over utterances where there is one speaker), and stand beside those of the truth and
of the controls: on drawn faces they rank systems and say no more.

Axis letters: T frames, R animated vertices, M measured vertices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.corpora.phone_times import pronunciation
from avsr.data.collate import collate
from avsr.data.dataset import Example, middle_crop
from avsr.data.manifest import decode_array, load_prepared
from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.files import sha256_file, write_jsonl
from avsr.metrics import character_errors, word_errors
from avsr.models.recognizer import Recognizer
from avsr.schema import ErrorCounts
from avsr.text import Tokenizer, normalise
from avsr.training.hub import recognizer_file
from avsr.training.recognizer import load_recognizer
from avsr.training.run_folder import provenance
from learn2talk.corpora.drawn import drawn_mouths
from learn2talk.data.motion import MotionClips
from learn2talk.evaluate.faces import fitted, generated, mean_displacement, measured_vertices
from learn2talk.files import TrainedStudent, load_student
from learn2talk.metrics.pooling import (
    ClusterDraws,
    difference,
    draw_clusters,
    mean,
    pooled_interval,
)
from learn2talk.metrics.visemes import (
    spectre_viseme_rates,
    text_to_phones,
    viseme_errors,
    viseme_word_errors,
)

DECODING = DecodingConfig("ctc", beam_size=8)
BATCH = 16  # mouths read together
CONTROLS = ("truth", "mean_face", "still_face", "other_utterance")
FILM = "film"  # the real mouth crops themselves
RATES = ("cer", "wer", "ver", "vwer")

Face = Callable[[int], NDArray[np.float32]]
"""Index of a clip to the displacement (T, R, 3), mm, of the animated vertices."""


def evaluate_readability(
    students: Mapping[str, Path | str],
    lip_reader: Path | str,
    prepared: Path | str,
    *,
    split: str = "test",
    seed: int = 0,
    hypotheses: Path | None = None,
) -> dict[str, Any]:
    """What a lip reader reads in students' faces, in the truth and in the controls.

    Args:
        students: name to the folder of a trained student; none measures the controls alone.
        lip_reader: recogniser with mouth crops, which was no loss of these students.
        prepared: prepared corpus with motion, of the students' topology.
        split: which clips.
        seed: of the intervals.
        hypotheses: JSONL file for what was read in each face; None writes none.

    Returns:
        JSON-ready: each system's rates with 95 % intervals, the paired difference of each student
        to each control, and SPECTRE's variants of VER and VWER.

    Raises:
        ValueError: the recogniser reads no mouths or was a student's loss, topologies differ, a
            student is named as a control, no usable clip or only one.
    """
    prepared = Path(prepared)
    model, tokenizer = load_recognizer(lip_reader)
    if "crops" not in model.config.streams:
        raise ValueError(
            f"{lip_reader}: takes {', '.join(model.config.streams)}, not mouth crops; give a "
            "recogniser that was trained on mouths"
        )
    trained = {name: load_student(folder) for name, folder in students.items()}
    reader_sha256 = sha256_file(recognizer_file(lip_reader))
    _check(trained, reader_sha256, lip_reader)
    clips = MotionClips(prepared, split)
    rows = list(_readings(clips, trained, model, tokenizer))
    if hypotheses is not None:
        write_jsonl(hypotheses, rows)
    scored = score_readings(rows, seed=seed)
    return {
        "split": split,
        "clips": len(clips),
        "excluded": [list(pair) for pair in clips.excluded],
        "lip_reader_sha256": reader_sha256,
        "students": {name: one.provenance["student_sha256"] for name, one in trained.items()},
        **scored,
        **provenance(),
    }


def _check(
    trained: Mapping[str, TrainedStudent], reader_sha256: str, lip_reader: Path | str
) -> None:
    for name, student in trained.items():
        if name in (*CONTROLS, FILM):
            raise ValueError(f"student name {name!r} is a control's; give it another name")
        if student.provenance.get("lip_reader_sha256") == reader_sha256:
            raise ValueError(
                f"{lip_reader}: was the lip-reading loss of student {name!r}; a network that "
                "scores a student is never its loss: give a lip reader of another seed"
            )


def _readings(
    clips: MotionClips,
    trained: Mapping[str, TrainedStudent],
    model: Recognizer,
    tokenizer: Tokenizer,
) -> Iterator[dict[str, Any]]:
    """A row for each face of each clip, with what was read."""
    stored = load_prepared(clips.folder, clips.split)
    texts = dict(zip(stored["utterance_id"], stored["text"], strict=True))
    template = clips.templates[clips.clips[0].speaker_id]
    for student in trained.values():
        if not np.array_equal(student.animated_ids, clips.animated_ids):
            raise ValueError(
                f"{clips.folder}: is of topology {template.topology!r}, a student moves "
                f"{student.template.topology!r}; give a corpus of the student's"
            )
        template = student.template
    faces = _faces(clips, trained)
    films = stored.select_columns(["mouth_crops"])
    place = {name: number for number, name in enumerate(stored["utterance_id"])}
    for name in (*faces, FILM):
        for first in range(0, len(clips), BATCH):
            part = range(first, min(first + BATCH, len(clips)))
            mouths = []
            for index in part:
                if name == FILM:
                    row = films[place[clips.clips[index].utterance_id]]
                    crops = decode_array(row["mouth_crops"])
                else:
                    crops = drawn_mouths(template, clips.animated_ids, faces[name](index))
                mouths.append(np.ascontiguousarray(middle_crop(crops)))
            chosen = [clips.clips[index] for index in part]
            said = read_mouths(model, tokenizer, mouths, [clip.tracked for clip in chosen])
            for clip, hypothesis in zip(chosen, said, strict=True):
                yield {
                    "system": name,
                    "utterance_id": clip.utterance_id,
                    "speaker_id": clip.speaker_id,
                    "reference": normalise(texts[clip.utterance_id]),
                    "hypothesis": hypothesis,
                }


def _faces(clips: MotionClips, trained: Mapping[str, TrainedStudent]) -> dict[str, Face]:
    """The controls and the students; displacement of the animated vertices of a clip."""
    template = clips.templates[clips.clips[0].speaker_id]
    measured = measured_vertices(template, clips.animated_ids)
    average = mean_displacement(clips.folder, clips.animated_ids)

    def truth(index: int) -> NDArray[np.float32]:
        return clips.clips[index].displacement

    def length(index: int) -> int:
        return clips.clips[index].num_frames

    def by(student: TrainedStudent) -> Face:
        # No default in a lambda: each closes over its own student.
        return lambda index: generated(student, clips.clips[index], measured)[:, measured.animated]

    return {
        "truth": truth,
        "mean_face": lambda index: np.repeat(average[None], length(index), axis=0),
        "still_face": lambda index: np.zeros_like(truth(index)),
        "other_utterance": lambda index: fitted(truth((index + 1) % len(clips)), length(index)),
        **{name: by(student) for name, student in trained.items()},
    }


@torch.no_grad()
def read_mouths(
    model: Recognizer,
    tokenizer: Tokenizer,
    mouths: Sequence[NDArray[np.uint8]],
    valid: Sequence[NDArray[np.bool_]],
) -> list[str]:
    """What a recogniser reads in mouths, without sound; nothing where no frame is valid.

    Args:
        model: with mouth crops among its streams, in evaluation mode.
        tokenizer: its own.
        mouths: uint8 (T, 88, 88) each.
        valid: bool (T,) each, False where there is no picture.
    """
    said = [""] * len(mouths)
    there = [place for place, frames in enumerate(valid) if frames.any()]
    if not there:
        return said
    examples = [
        Example(
            utterance_id=str(place),
            num_frames=len(mouths[place]),
            features=None,
            mouth_crops=mouths[place],
            lips=None,
            crops_valid=valid[place],
            lips_valid=np.zeros(len(mouths[place]), bool),
            tokens=(),
        )
        for place in there
    ]
    batch = collate(examples)
    found = decode_memory(model, model.memory_of(batch), batch.lengths, DECODING)
    for place, tokens in zip(there, found, strict=True):
        said[place] = normalise(tokenizer.decode(tokens))
    return said


def score_readings(rows: Sequence[Mapping[str, Any]], *, seed: int = 0) -> dict[str, Any]:
    """Rates of each system from what was read; needs no network.

    Args:
        rows: system, utterance_id, speaker_id, reference, hypothesis; every system with the same
            utterances in the same order.
        seed: of the bootstrap.

    Raises:
        ValueError: systems with different utterances, fewer than two clusters, no reference word.
    """
    systems: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        systems.setdefault(row["system"], []).append(row)
    names = {system: [row["utterance_id"] for row in part] for system, part in systems.items()}
    first = next(iter(names.values()), [])
    if uneven := [system for system, own in names.items() if own != first]:
        raise ValueError(f"systems {uneven} were not read on the same utterances as the others")
    part = next(iter(systems.values()), [])
    speakers = [row["speaker_id"] for row in part]
    by = "speaker" if len(set(speakers)) > 1 else "utterance"
    draws = draw_clusters(speakers if by == "speaker" else first, clustered_by=by, seed=seed)
    columns = {system: rate_columns(own) for system, own in systems.items()}
    students = [name for name in systems if name not in (*CONTROLS, FILM)]
    return {
        "clustered_by": by,
        "seed": seed,
        "systems": {
            system: rates_of(columns[system], draws) | {"spectre": spectre_rates(own)}
            for system, own in systems.items()
        },
        "student_minus_control": {
            name: {
                other: rates_apart(columns[name], columns[other], draws)
                for other in systems
                if other != name
            }
            for name in students
        },
    }


def phones_of(text: str) -> str:
    """Phone string of a normalised text (`learn2talk.metrics.visemes`), as espeak-ng says it."""
    return text_to_phones(text, {word: pronunciation(word) for word in text.split()})


def rate_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """For each rate the errors and the reference's length of each utterance, (C, 2)."""
    counts: dict[str, list[ErrorCounts]] = {rate: [] for rate in RATES}
    for row in rows:
        texts = {"reference": row["reference"], "hypothesis": row["hypothesis"]}
        phones = {which: phones_of(text) for which, text in texts.items()}
        counts["cer"].append(character_errors(**texts))
        counts["wer"].append(word_errors(**texts))
        counts["ver"].append(viseme_errors(**phones))
        counts["vwer"].append(viseme_word_errors(**phones))
    return {
        rate: np.array([(one.errors, one.reference_length) for one in own], dtype=np.float64)
        for rate, own in counts.items()
    }


def rates_of(columns: Mapping[str, NDArray[np.float64]], draws: ClusterDraws) -> dict[str, Any]:
    """Each rate of `RATES` with its 95 % interval, JSON-ready."""
    found = {rate: pooled_interval(own, draws, mean) for rate, own in columns.items()}
    return {
        rate: {"value": one.value, "low": one.low, "high": one.high, "unit": "1"}
        for rate, one in found.items()
    }


def rates_apart(
    first: Mapping[str, NDArray[np.float64]],
    second: Mapping[str, NDArray[np.float64]],
    draws: ClusterDraws,
) -> dict[str, Any]:
    """First minus second, paired by utterance."""
    found = {}
    for rate, own in first.items():
        both = np.concatenate([own, second[rate]], axis=1)
        one = pooled_interval(both, draws, difference(mean))
        found[rate] = {"value": one.value, "low": one.low, "high": one.high, "unit": "1"}
    return found


def spectre_rates(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    """VER and VWER as SPECTRE's code takes them, of rows with reference and hypothesis."""
    rates = spectre_viseme_rates(
        [(phones_of(row["reference"]), phones_of(row["hypothesis"])) for row in rows]
    )
    return {"ver": rates.ver, "vwer": rates.vwer, "dropped_phones": rates.dropped_phones}
