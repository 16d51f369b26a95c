"""One utterance at a time: every face is read by every lip reader and measured, and kept.

What was read is kept in ``<out>/read/<face>/<utterance>.json`` with a hash of what it was made
from, so that a run that was stopped goes on, and a new system or reader reads only what is new.
Axis letters: T frames, F mel bands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from avsr.corpora.clips import file_stem
from avsr.data.dataset import features_of
from avsr.files import read_json, write_json
from avsr.training.command import use_one_thread
from learn2talk.data.motion import animated_ids
from learn2talk.data.motion_clip import MotionClip
from learn2talk.evaluate.expert import FPS, embed, score_clip
from learn2talk.evaluate.faces import measured_vertices
from learn2talk.evaluate.measures import closure_columns, spatial_columns, sync_columns
from learn2talk.export.alignment import same_topology
from learn2talk.face_benchmark.carrying import Drawings, drawn_face, lips_of
from learn2talk.face_benchmark.faces import (
    Controls,
    Face,
    Plan,
    Spoken,
    faces_of,
    sound_of,
    sums_of,
    truth_of,
)
from learn2talk.face_benchmark.films import track_film
from learn2talk.face_benchmark.inputs import Utterance
from learn2talk.face_benchmark.recognisers import LipReader, load_lip_reader
from learn2talk.files import load_sync_expert
from learn2talk.metrics import ClosureCounts, count_closures, lip_gap_mm
from learn2talk.models.sync_expert import SyncNet3D
from learn2talk.schema import FaceTemplate

SYNC = ("lse_d", "lse_c", "offset_ms", "offset_absolute_ms")
CLOSURE = ("closure_recall", "closure_precision")
SPATIAL = (
    *("lip_error_mm", "lve_rooted_mm", "lve_mm2", "mve_mm", "mve_face_mm"),
    *("lve_rooted_clip_mean_mm", "lve_centred_mm", "lve_rms_of_max_mm"),
)
Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Worker:
    """A process's networks."""

    plan: Plan
    readers: tuple[LipReader, ...]
    judge: SyncNet3D | None
    judge_sha256: str | None


_WORKERS: list[Worker] = []  # the one of this process


def start_worker(plan: Plan) -> Worker:
    """Load a process's networks, in one thread."""
    use_one_thread()
    readers = tuple(load_lip_reader(path, name) for name, path in plan.readers)
    judge, sha256 = None, None
    if plan.judge is not None:
        judge, info = load_sync_expert(plan.judge, "judge")
        sha256 = info["weights_sha256"]
    _WORKERS[:] = [Worker(plan, readers, judge, sha256)]
    return _WORKERS[0]


def _start(plan: Plan | None) -> None:
    if plan is None:
        use_one_thread()
    else:
        start_worker(plan)


def in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], plan: Plan | None, processes: int
) -> Iterator[Result]:
    """``work`` of each item, in order, in several processes; each loads the plan's networks.

    Args:
        work: a function of a module.
        items: what it is given.
        plan: networks to load; None loads none.
        processes: 1 works in this one.
    """
    count = min(processes, len(items))
    if count <= 1:
        if plan is not None:
            start_worker(plan)
        yield from map(work, items)
        return
    with ProcessPoolExecutor(
        count, get_context("spawn"), initializer=_start, initargs=(plan,)
    ) as pool:
        try:
            yield from pool.map(work, items)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def track(job: tuple[Path, Path, Path, Mapping[str, Any]]) -> None:
    """Track one film; see `films.track_film`."""
    track_film(*job)


def sums(job: tuple[Plan, Utterance]) -> Any:
    """See `faces.sums_of`."""
    return sums_of(*job)


def kept_file(out: Path, face: str, utterance: Utterance) -> Path:
    """Where what was read in a face is kept."""
    return out / "read" / face / f"{file_stem(utterance.utterance_id)}.json"


def measure(job: tuple[Utterance, Controls]) -> dict[str, bool]:
    """Read and measure all faces of one utterance, as far as that is not kept already.

    Returns:
        face to whether there was one: False for a film without a face.
    """
    utterance, controls = job
    worker = _WORKERS[0]
    plan = worker.plan
    truth = truth_of(plan, utterance)
    found = [_Kept(plan, face, utterance) for face in faces_of(plan, utterance, controls)]
    _read_missing(worker.readers, found)
    context = _Context(worker, utterance, controls, truth)
    for one in found:
        if one.face.pictures is None:
            context.measure(one)
        one.save()
    return {one.face.name: one.face.moved is not None for one in found}


class _Kept:
    """A face with what is kept of it."""

    def __init__(self, plan: Plan, face: Face, utterance: Utterance) -> None:
        self.face = face
        self.path = kept_file(plan.out, face.name, utterance)
        there: Any = read_json(self.path) if self.path.is_file() else {}
        same = isinstance(there, dict) and there.get("source") == face.source
        self.record: dict[str, Any] = there if same else {"source": face.source, "hypotheses": {}}
        self._changed = not same

    def put(self, key: str, value: Any) -> None:
        self.record[key], self._changed = value, True

    def save(self) -> None:
        if self._changed:
            write_json(self.path, self.record)


def _read_missing(readers: Sequence[LipReader], faces: Sequence[_Kept]) -> None:
    for reader in readers:
        new = [one for one in faces if reader.sha256 not in one.record["hypotheses"]]
        drawings = Drawings(reader.mouth_share)
        mouths, valid = [], []
        for one in new:
            face = one.face
            seen = face.valid
            if face.pictures is not None:
                mouths.append(face.pictures[reader.crops])
            elif face.moved is None:
                mouths.append(np.zeros((len(seen), 96, 96), np.uint8))
            else:
                mouths.append(drawings.crops(face.moved))
            valid.append(seen if face.moved is not None else np.zeros(len(seen), bool))
        said = reader.read(mouths, valid) if new else []
        for one, text in zip(new, said, strict=True):
            one.put("hypotheses", {**one.record["hypotheses"], reader.sha256: text})


class _Context:
    """What the figures of motion of one utterance need beside the face."""

    def __init__(
        self, worker: Worker, utterance: Utterance, controls: Controls, truth: Spoken | None
    ) -> None:
        self.worker, self.truth = worker, truth
        plan = worker.plan
        self.threshold = controls.thresholds[utterance.speaker_id]
        times = plan.phones.get(utterance.utterance_id, ())
        self.phones = tuple((one.phone, one.start_s, one.end_s) for one in times)
        self.features: NDArray[np.float32] | None = None
        if worker.judge is not None:
            self.features = features_of(sound_of(utterance), worker.judge.config.num_mels)
        told = [worker.judge_sha256, round(self.threshold, 4), list(self.phones)]
        base = next((s for s in plan.systems if s.name == plan.base), None)
        told.append(None if truth is None or base is None else str(base.folder))
        self.key = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]

    def measure(self, kept: _Kept) -> None:
        """Columns of every figure of a face, as far as they are not kept."""
        truth_key = None if self.truth is None else _fingerprint(self.truth.displacement)
        key = f"{self.key}{truth_key}"
        if kept.record.get("columns_key") == key:
            return
        columns, reasons = self.columns(kept.face)
        kept.put("columns_key", key)
        kept.put("columns", {name: list(values) for name, values in columns.items()})
        kept.put("reasons", reasons)

    def columns(self, face: Face) -> tuple[dict[str, tuple[float, ...]], dict[str, str]]:
        """Summed columns of each figure, and why a kind of figure has none."""
        found: dict[str, tuple[float, ...]] = {}
        reasons: dict[str, str] = {}
        lips = None if face.moved is None else lips_of(face.moved)
        if self.worker.judge is None:
            reasons["sync"] = "no judge was given"
        elif lips is None or self.features is None:
            reasons["sync"] = "no face"
        else:
            found |= self._sync(face, lips)
        if not self.phones:
            reasons["closure"] = "no phone times are known"
        elif lips is None:
            labial = sum(phone in ("p", "b", "m") for phone, _, _ in self.phones)
            found |= dict(closure_columns(ClosureCounts(labial, 0, 0, 0)))
        else:
            gap = np.where(face.valid, lip_gap_mm(lips), np.inf)  # unseen lips close nowhere
            counts = count_closures(gap, self.phones, threshold_mm=self.threshold, fps=FPS)
            found |= dict(closure_columns(counts))
        reason = self._no_error_reason(face)
        if reason:
            reasons["spatial"] = reason
        else:
            found |= self._spatial(face)
        return found, reasons

    def _sync(self, face: Face, lips: NDArray[np.float32]) -> dict[str, tuple[float, ...]]:
        assert self.worker.judge is not None and self.features is not None
        clip = MotionClip(
            utterance_id=face.name,
            speaker_id="",
            features=self.features,
            lips=lips,
            neutral_lips=drawn_face().lips,
            displacement=lips[:, :0],
            tracked=face.valid,
            words=(),
            phones=(),
        )
        if len(lips) < self.worker.judge.config.window_frames:
            return dict.fromkeys(SYNC, (0.0, 0.0))
        embedded = embed(self.worker.judge, clip, lips)
        columns = sync_columns(embedded, score_clip(embedded))
        return {name: columns[name] for name in SYNC}

    def _no_error_reason(self, face: Face) -> str:
        if self.truth is None:
            return "no truth was given"
        if face.template is None or self.truth.template is None:
            return "no face"
        mine, real = face.template, self.truth.template
        if mine.topology != real.topology or not same_topology(mine, real):
            return f"the truth is of topology {real.topology!r}, this face of {mine.topology!r}"
        if not (face.valid & self.truth.valid).any():
            return "no frame in which both have a face"
        return ""

    def _spatial(self, face: Face) -> dict[str, tuple[float, ...]]:
        assert self.truth is not None and self.truth.template is not None
        assert face.displacement is not None and self.truth.displacement is not None
        template = self.truth.template
        measured = measured_vertices(template, _moved_by_speech(template))
        seen = face.valid & self.truth.valid
        made, real = (one[seen][:, measured.ids] for one in (face.displacement, self._real()))
        columns = spatial_columns(made, real, measured)
        return {name: columns[name] for name in SPATIAL}

    def _real(self) -> NDArray[np.float32]:
        assert self.truth is not None and self.truth.displacement is not None
        return self.truth.displacement


def _fingerprint(values: NDArray[np.float32] | None) -> str:
    return "" if values is None else hashlib.sha256(values.tobytes()).hexdigest()[:24]


def _moved_by_speech(template: FaceTemplate) -> NDArray[np.int32]:
    """Lower face and lips; the lips alone where the mesh names no lower face."""
    if "lower_face" in template.regions:
        return animated_ids(template)
    return np.unique(template.lip_ids).astype(np.int32)
