"""The faces of one utterance: each system's, its film's own pictures, and the controls.

Controls are made from the truth, or where there is none from the first system: its mean face, a
still one at rest, its motion of another utterance, and its motion shifted in time. All faces last
as long as the sound. Axis letters: T frames at 25 a second, R moving vertices, V vertices, S
samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsr.corpora.clips import file_stem
from avsr.files import read_audio, sha256_file
from avsr.schema import PhoneTime
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from learn2talk.evaluate.faces import CLOSED_SHARE, SHIFTS, fitted, shifted_in_time
from learn2talk.face_benchmark.carrying import STYLE, carried, lips_of, moving_ids
from learn2talk.face_benchmark.films import file_facts, film_motion, kept_path, load_film
from learn2talk.face_benchmark.inputs import FILM, SHIFTED, TRUTH, System, Utterance
from learn2talk.face_benchmark.motion_folders import (
    FPS,
    MotionSettings,
    at_video_rate,
    read_motion,
)
from learn2talk.metrics import lip_gap_mm
from learn2talk.schema import FaceTemplate

LENGTH_TOLERANCE_S = 0.2  # by which motion or film may differ from the sound


@dataclass(frozen=True)
class Plan:
    """All that a process needs to measure an utterance; can be sent to another process.

    base: name of the system that the controls are made from. settings: of each system of motions.
    readers: name (None: its own) and path of each lip reader. judge: folder, None without one.
    scorers: SHA-256 of each network that scores, and what it is called.
    """

    out: Path
    utterances: tuple[Utterance, ...]
    systems: tuple[System, ...]
    base: str
    settings: Mapping[str, MotionSettings]
    readers: tuple[tuple[str | None, Path], ...]
    judge: Path | None
    phones: Mapping[str, tuple[PhoneTime, ...]]
    scorers: Mapping[str, str]

    def system(self, name: str) -> System:
        """A system by its name."""
        return next(one for one in self.systems if one.name == name)

    def other(self, utterance: Utterance) -> Utterance:
        """The next utterance, whose motion is a control; the last one takes the first."""
        place = self.utterances.index(utterance)
        return self.utterances[(place + 1) % len(self.utterances)]


@dataclass(frozen=True, eq=False)
class Spoken:
    """One system's face while it says one utterance, T frames.

    moved: (T, R, 3) mm on the drawn face. displacement: (T, V, 3) mm from its own neutral face
    ``template``. All three are None for a film without a face. valid: bool (T,). crops: uint8
    (T, 96, 96) of a film by kind. length_s: of the motion or film itself.
    """

    moved: NDArray[np.float32] | None
    displacement: NDArray[np.float32] | None
    template: FaceTemplate | None
    valid: NDArray[np.bool_]
    crops: Mapping[str, NDArray[np.uint8]]
    fps: float


@dataclass(frozen=True, eq=False)
class Face:
    """A face to be read and measured; see `Spoken`.

    pictures: a film's own crops are read; False: it is drawn. source: hash of what it was made of.
    """

    name: str
    moved: NDArray[np.float32] | None
    displacement: NDArray[np.float32] | None
    template: FaceTemplate | None
    valid: NDArray[np.bool_]
    source: str
    pictures: Mapping[str, NDArray[np.uint8]] | None = None


def sound_of(utterance: Utterance) -> NDArray[np.float32]:
    """The sound, float32 (640 T,) at 16 kHz, filled up with silence to whole frames."""
    waveform = read_audio(utterance.audio)
    num_frames = max(1, round(len(waveform) / SAMPLES_PER_FRAME))
    wanted = num_frames * SAMPLES_PER_FRAME
    return np.pad(waveform[:wanted], (0, max(0, wanted - len(waveform))))


@lru_cache(maxsize=8)
def _frames_of(audio: Path) -> tuple[int, float]:
    waveform = read_audio(audio)
    return max(1, round(len(waveform) / SAMPLES_PER_FRAME)), len(waveform) / SAMPLE_RATE_HZ


def num_frames_of(utterance: Utterance) -> int:
    """T: how long every face of an utterance is."""
    return _frames_of(utterance.audio)[0]


def load_spoken(plan: Plan, system: System, utterance: Utterance) -> Spoken:
    """A system's face of an utterance at 25 frames a second, as long as the sound.

    Raises:
        ValueError: it cannot be used, was trained with a network that scores it, or is longer or
            shorter than the sound by more than `LENGTH_TOLERANCE_S`.
    """
    num_frames, seconds = _frames_of(utterance.audio)
    path = system.files[file_stem(utterance.utterance_id)]
    if system.kind == "film":
        return _of_film(plan, system, utterance, num_frames, seconds)
    motion, losses = read_motion(path, plan.settings[system.name])
    for sha256 in losses:
        if sha256 in plan.scorers:
            raise ValueError(
                f"{path}: was made by a network that {plan.scorers[sha256]} trained as a loss; a "
                "network that scores a face is never its loss: give another one"
            )
    _check_length(path, motion.duration_s, seconds, f"{motion.fps:g} fps")
    motion, rate = at_video_rate(motion), motion.fps
    face = motion.template
    moved = fitted(carried(motion), num_frames)
    own = fitted(motion.vertices - face.vertices, num_frames)
    return Spoken(moved, own, face, np.ones(num_frames, bool), {}, rate)


def _of_film(
    plan: Plan, system: System, utterance: Utterance, num_frames: int, seconds: float
) -> Spoken:
    film = load_film(kept_path(plan.out, system, utterance))
    path = system.files[file_stem(utterance.utterance_id)]
    _check_length(path, len(film.valid) / FPS, seconds, "its own frame rate")
    valid = np.zeros(num_frames, bool)
    count = min(num_frames, len(film.valid))
    valid[:count] = film.valid[:count]
    crops = {name: fitted(own, num_frames) for name, own in film.crops.items()}
    motion = film_motion(film, plan.out, system, utterance)
    if motion is None:
        return Spoken(None, None, None, valid, crops, FPS)
    face = motion.template
    own = fitted(motion.vertices - face.vertices, num_frames)
    return Spoken(fitted(carried(motion), num_frames), own, face, valid, crops, FPS)


def _check_length(path: Path, seconds: float, sound_s: float, rate: str) -> None:
    if abs(seconds - sound_s) > LENGTH_TOLERANCE_S:
        raise ValueError(
            f"{path}: is {seconds:.2f} s long at {rate}, its sound {sound_s:.2f} s; they may "
            f"differ by {LENGTH_TOLERANCE_S:g} s (ratio {sound_s / max(seconds, 1e-9):.3f}: is the "
            "frame rate right?)"
        )


def _hash(*facts: object) -> str:
    return hashlib.sha256(json.dumps([STYLE, *facts]).encode()).hexdigest()[:24]


def source_of(plan: Plan, system: System, utterance: Utterance) -> str:
    """Hash of everything that a system's face of an utterance is made of."""
    path = system.files[file_stem(utterance.utterance_id)]
    facts: list[object] = [file_facts(path), file_facts(utterance.audio)]
    if system.kind == "film":
        faces = plan.out / "tracked" / system.name / "faces.npz"
        return _hash(*facts, _sha256(faces, tuple(file_facts(faces))))
    told = plan.settings[system.name]
    template = told.template
    if template is not None and template.is_file():
        facts.append(file_facts(template))
    return _hash(*facts, str(told))


@lru_cache(maxsize=64)
def _sha256(path: Path, facts: tuple[int, ...]) -> str:
    return sha256_file(path)


@dataclass(frozen=True, eq=False)
class Sums:
    """What one utterance of the base adds to the controls: see `Controls`."""

    moved: NDArray[np.float64]
    own: NDArray[np.float64]
    frames: int
    gaps: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Controls:
    """What is known of the base over all utterances.

    mean: (R, 3) mm, mean displacement on the drawn face. own_mean: (V, 3) mm, on its own.
    thresholds: speaker to the lip gap, mm, below which the mouth counts as closed.
    """

    mean: NDArray[np.float32]
    own_mean: NDArray[np.float32]
    thresholds: Mapping[str, float]


def sums_of(plan: Plan, utterance: Utterance) -> Sums:
    """The base's share of the controls in one utterance; nothing where its film has no face."""
    spoken = load_spoken(plan, plan.system(plan.base), utterance)
    if spoken.moved is None or spoken.displacement is None:
        return Sums(np.zeros((len(moving_ids()), 3)), np.zeros((0, 3)), 0, np.zeros(0, np.float32))
    seen = spoken.valid
    return Sums(
        spoken.moved[seen].sum(axis=0, dtype=np.float64),
        spoken.displacement[seen].sum(axis=0, dtype=np.float64),
        int(seen.sum()),
        lip_gap_mm(lips_of(spoken.moved[seen])).astype(np.float32),
    )


def controls_of(plan: Plan, sums: Sequence[Sums]) -> Controls:
    """Mean face and closed thresholds from the sums of all utterances.

    Raises:
        ValueError: the base has no frame with a face, or its files have different meshes.
    """
    there = [one for one in sums if one.frames]
    frames = sum(one.frames for one in there)
    if not frames:
        raise ValueError(f"system {plan.base!r} has a face in no frame; there are no controls")
    if len({one.own.shape for one in there}) > 1:
        folder = plan.system(plan.base).folder
        raise ValueError(f"{folder}: its motions have different meshes; give one folder for each")
    gaps: dict[str, list[NDArray[np.float32]]] = {}
    for utterance, one in zip(plan.utterances, sums, strict=True):
        gaps.setdefault(utterance.speaker_id, []).append(one.gaps)
    thresholds = {}
    for speaker, parts in gaps.items():
        joined = np.concatenate(parts)
        low, high = np.quantile(joined, [0.02, 0.98]) if len(joined) else (0.0, 0.0)
        thresholds[speaker] = float(low + CLOSED_SHARE * (high - low))
    return Controls(
        (np.sum([one.moved for one in there], axis=0) / frames).astype(np.float32),
        (np.sum([one.own for one in there], axis=0) / frames).astype(np.float32),
        thresholds,
    )


def faces_of(plan: Plan, utterance: Utterance, controls: Controls) -> Iterator[Face]:
    """Every face of an utterance: the systems in their order, then the controls."""
    base: Spoken | None = None
    for system in plan.systems:
        spoken = load_spoken(plan, system, utterance)
        source = source_of(plan, system, utterance)
        base = spoken if system.name == plan.base else base
        own = (spoken.moved, spoken.displacement, spoken.template, spoken.valid)
        yield Face(system.name, *own, source)
        if system.kind == "film":
            yield Face(f"{system.name}{FILM}", *own, source, spoken.crops)
    assert base is not None
    yield from _control_faces(plan, utterance, controls, base)


def _control_faces(
    plan: Plan, utterance: Utterance, controls: Controls, base: Spoken
) -> Iterator[Face]:
    system, length = plan.system(plan.base), num_frames_of(utterance)
    always = np.ones(length, bool)
    face, made_of = base.template, source_of(plan, system, utterance)

    def held(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.repeat(values[None], length, axis=0)

    mean = _hash("mean", length, controls.mean.tobytes().hex())
    own_mean = None if face is None else held(controls.own_mean)
    yield Face("mean_face", held(controls.mean), own_mean, face, always, mean)
    still = np.zeros_like(controls.mean)
    own_still = None if own_mean is None else np.zeros_like(own_mean)
    yield Face("still_face", held(still), own_still, face, always, _hash("still", length))
    next_one = plan.other(utterance)
    other = load_spoken(plan, system, next_one)
    made = _hash("other", length, source_of(plan, system, next_one))
    if other.moved is None or other.displacement is None:
        yield Face("other_utterance", None, None, None, np.zeros(length, bool), made)
    else:
        moved, own = fitted(other.moved, length), fitted(other.displacement, length)
        yield Face("other_utterance", moved, own, other.template, fitted(other.valid, length), made)
    for shift in SHIFTS:
        made = _hash("shifted", shift, made_of)
        name = f"{SHIFTED}{shift:+d}"
        if base.moved is None or base.displacement is None:
            yield Face(name, None, None, None, np.zeros(length, bool), made)
            continue
        moved, own = (shifted_in_time(one, shift) for one in (base.moved, base.displacement))
        yield Face(name, moved, own, face, shifted_in_time(base.valid, shift), made)


def truth_of(plan: Plan, utterance: Utterance) -> Spoken | None:
    """The truth's face of an utterance; None where no truth was given."""
    if plan.base != TRUTH:
        return None
    return load_spoken(plan, plan.system(TRUTH), utterance)
