"""A prepared corpus: a folder of Arrow splits, face templates, the list of skipped clips, facts.

    <folder>/dataset_dict.json train/ valid/ test/   what ``datasets.load_from_disk`` reads
    <folder>/face_templates.npz                      mesh, regions, one neutral face a speaker
    <folder>/skipped.jsonl                           {"utterance_id", "path", "reason"} a line
    <folder>/corpus.json                             facts; written last: it marks a finished folder

Arrays are stored as the bytes of a ``.npy`` file: dtype and shape travel with them. Vertices, the
largest array after the crops, are stored as their mean and float16 displacements from it, which
:func:`decode_vertices` reads to within 0.01 mm; folders that hold them as one array are read too.
Axes: S samples at 16 kHz, T frames at 25 fps, V vertices, F triangles. S is exactly 640 T.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avsr.files import read_json, write_json, write_jsonl
from avsr.schema import PhoneTime, WordTime
from avsr.units import LIP_POINTS, MOUTH_CROP_SIZE, SAMPLES_PER_FRAME

if TYPE_CHECKING:
    import datasets

SPLITS = ("train", "valid", "test")
_STRINGS = ("utterance_id", "speaker_id", "text", "words", "phones", "source")
_ARRAYS = ("audio", "mouth_crops", "lips", "vertices", "video_valid", "head_pose")
_INTEGERS = ("num_frames", "num_samples")
COLUMNS = _STRINGS + _ARRAYS + _INTEGERS
HEAD_POSE_NUMBERS = 6
FLOAT16_REACH_MM = 32.0  # below it float16 steps by at most 1/64 mm
_ROWS_PER_BATCH = 16  # what a writer holds in memory; a row is 1 MB (3 s) to 7 MB (16 s)


class ManifestError(ValueError):
    """A prepared folder, or a row of one, that is not what it must be."""


def unknown_head_pose() -> np.ndarray:
    """Of an utterance whose head was not tracked: float32 (0, 6)."""
    return np.zeros((0, HEAD_POSE_NUMBERS), np.float32)


@dataclass(frozen=True)
class FaceTemplates:
    """The mesh of a corpus and each speaker's neutral face.

    topology: name of the vertex numbering. triangles: int32 (F, 3), counter-clockwise from outside.
    regions: name -> int32 vertex ids. templates: speaker_id -> float32 (V, 3) mm, mouth closed.
    """

    topology: str
    triangles: np.ndarray
    regions: dict[str, np.ndarray]
    templates: dict[str, np.ndarray]


@dataclass(frozen=True)
class PreparedUtterance:
    """One utterance of a prepared corpus.

    audio: float32 (S,) 16 kHz, [-1, 1]. mouth_crops: uint8 (T, 96, 96) grey. lips: float32
    (T, 40, 3) mm and vertices: float32 (T, V, 3) mm, head-pose-free. video_valid: bool (T,), True =
    really tracked. words, phones: empty where unknown. source: the file that it came from.
    head_pose: float32 (T, 6) as `avsr.video.head_poses` gives it, rad and mm; (0, 6) where unknown.
    """

    utterance_id: str
    speaker_id: str
    text: str
    audio: np.ndarray
    mouth_crops: np.ndarray
    lips: np.ndarray
    vertices: np.ndarray
    video_valid: np.ndarray
    words: tuple[WordTime, ...]
    phones: tuple[PhoneTime, ...]
    num_frames: int
    num_samples: int
    source: str
    head_pose: np.ndarray = field(default_factory=unknown_head_pose)


def encode_array(array: np.ndarray) -> bytes:
    """An array as the bytes of a ``.npy`` file (no pickles)."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def decode_array(data: bytes) -> np.ndarray:
    """The inverse of :func:`encode_array`; a writable copy.

    Raises:
        ManifestError: the bytes are not a ``.npy`` file.
    """
    return _next_array(io.BytesIO(data), data)


def _next_array(stream: io.BytesIO, data: bytes) -> np.ndarray:
    try:
        array: np.ndarray = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ManifestError(
            f"{len(data)} bytes are not a .npy array ({error}); prepare the corpus again"
        ) from error
    return array


def encode_vertices(vertices: np.ndarray) -> bytes:
    """A face's motion float32 (T, V, 3) mm in half its size: mean (V, 3) and float16 displacements.

    float16 keeps a displacement below 32 mm to within 0.008 mm. A motion that goes farther from
    its mean, or has no frame, is stored as it is.
    """
    if len(vertices):
        mean = vertices.mean(axis=0, dtype=np.float64).astype(np.float32)
        away = vertices - mean
        if float(np.abs(away).max(initial=0.0)) < FLOAT16_REACH_MM:
            return encode_array(mean) + encode_array(away.astype(np.float16))
    return encode_array(vertices)


def decode_vertices(data: bytes) -> np.ndarray:
    """The inverse of :func:`encode_vertices`: float32 (T, V, 3) mm; also of a plain array.

    Raises:
        ManifestError: the bytes are neither.
    """
    stream = io.BytesIO(data)
    first = _next_array(stream, data)
    if first.ndim == 3:
        return first
    away = _next_array(stream, data)
    if away.ndim != 3 or away.shape[1:] != first.shape:
        raise ManifestError(
            f"displacements {away.shape} do not fit a mean face {first.shape}; prepare the corpus "
            "again"
        )
    return first + away.astype(np.float32)


def encode_utterance(utterance: PreparedUtterance) -> dict[str, Any]:
    """A row for :func:`save_prepared`.

    Raises:
        ManifestError: a shape, dtype or length that breaks the table in this module's docstring.
    """
    check_utterance(utterance)
    row = {name: getattr(utterance, name) for name in (*_STRINGS, *_INTEGERS)}
    row["words"] = json.dumps([asdict(word) for word in utterance.words], ensure_ascii=False)
    row["phones"] = json.dumps([asdict(phone) for phone in utterance.phones], ensure_ascii=False)
    row.update({name: encode_array(getattr(utterance, name)) for name in _ARRAYS})
    row["vertices"] = encode_vertices(utterance.vertices)
    return row


def decode_row(row: Mapping[str, Any]) -> PreparedUtterance:
    """The utterance of a row of :func:`load_prepared`."""
    # Folders of before the head pose was kept have no column for it.
    arrays = {n: decode_array(row[n]) for n in _ARRAYS if n != "vertices" and n in row}
    arrays["vertices"] = decode_vertices(row["vertices"])
    words = tuple(WordTime(**word) for word in json.loads(row["words"]))
    phones = tuple(PhoneTime(**phone) for phone in json.loads(row["phones"]))
    return PreparedUtterance(
        utterance_id=row["utterance_id"],
        speaker_id=row["speaker_id"],
        text=row["text"],
        words=words,
        phones=phones,
        num_frames=row["num_frames"],
        num_samples=row["num_samples"],
        source=row["source"],
        **arrays,
    )


def check_utterance(utterance: PreparedUtterance) -> None:
    """Refuse arrays of wrong shape, dtype or length, or with values that are not finite.

    Raises:
        ManifestError: naming the utterance, the field, and what is expected.
    """
    frames, vertices = utterance.num_frames, utterance.vertices.shape[1:2]
    expected = {
        "audio": (np.float32, (SAMPLES_PER_FRAME * frames,)),
        "mouth_crops": (np.uint8, (frames, MOUTH_CROP_SIZE, MOUTH_CROP_SIZE)),
        "lips": (np.float32, (frames, LIP_POINTS, 3)),
        "vertices": (np.float32, (frames, *vertices, 3)),
        "video_valid": (np.bool_, (frames,)),
        "head_pose": (np.float32, (frames if len(utterance.head_pose) else 0, HEAD_POSE_NUMBERS)),
    }
    for name, (dtype, shape) in expected.items():
        array = getattr(utterance, name)
        if array.dtype != dtype or array.shape != shape:
            raise ManifestError(
                f"utterance {utterance.utterance_id}: {name} is {array.dtype} {array.shape}, "
                f"expected {np.dtype(dtype)} {shape} for {frames} frames"
            )
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise ManifestError(
                f"utterance {utterance.utterance_id}: {name} has NaN or infinite values"
            )
    if utterance.num_samples != len(utterance.audio):
        raise ManifestError(
            f"utterance {utterance.utterance_id}: num_samples is {utterance.num_samples}, "
            f"audio has {len(utterance.audio)}; they must be the same"
        )


def is_prepared(folder: Path | str) -> bool:
    """True when ``folder`` holds a finished prepared corpus."""
    return (Path(folder) / "corpus.json").is_file()


def save_prepared(
    out: Path | str,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    face_templates: FaceTemplates,
    info: Mapping[str, Any],
    skipped: Iterable[dict[str, Any]] = (),
) -> Path:
    """Write a prepared corpus; the folder counts as finished only when everything is in place.

    Args:
        out: folder to make or fill; other things in it are left alone.
        splits: rows (:func:`encode_utterance`) for each of train, valid, test; read one by one.
        face_templates: mesh and neutral faces.
        info: facts for corpus.json, JSON-ready; ``counts`` of utterances and frames are added.
        skipped: ``{"utterance_id", "path", "reason"}`` of every clip that is not in the splits.

    Returns:
        ``out``.

    Raises:
        ManifestError: ``out`` is finished already, a split's name is unknown, or an utterance id
            appears twice.
    """
    from datasets import DatasetDict

    out = Path(out)
    if is_prepared(out):
        raise ManifestError(f"{out}: is a finished prepared corpus already; give another folder")
    if set(splits) != set(SPLITS):
        raise ManifestError(f"{out}: splits are {sorted(splits)}, expected {', '.join(SPLITS)}")
    out.mkdir(parents=True, exist_ok=True)
    writing = out / f".writing-{uuid.uuid4().hex[:8]}"
    writing.mkdir()
    try:
        seen: dict[str, str] = {}
        counts: dict[str, Any] = {}
        tables = {}
        for split in SPLITS:
            tables[split], counts[split] = _write_split(writing, split, splits[split], seen)
        # A split without rows needs one (empty) shard to be readable; None = by size.
        shards: Any = {split: None if len(table) else 1 for split, table in tables.items()}
        DatasetDict(tables).save_to_disk(str(writing / "finished"), num_shards=shards)
        skipped_count = write_jsonl(writing / "finished" / "skipped.jsonl", skipped)
        save_face_templates(writing / "finished" / "face_templates.npz", face_templates)
        for part in sorted((writing / "finished").iterdir()):
            target = out / part.name
            if target.is_dir():  # left by a run that was killed before its corpus.json
                shutil.rmtree(target)
            os.replace(part, target)
        own = info.get("counts", {})
        counts = {**own, "utterances": counts, "skipped": skipped_count}
        write_json(out / "corpus.json", {**info, "counts": counts})
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    return out


def _write_split(
    folder: Path, split: str, rows: Iterable[Mapping[str, Any]], seen: dict[str, str]
) -> tuple[datasets.Dataset, dict[str, int]]:
    from datasets import Dataset

    def once() -> Iterable[Mapping[str, Any]]:
        for row in rows:
            utterance_id = row["utterance_id"]
            if utterance_id in seen:
                raise ManifestError(
                    f"utterance {utterance_id} is in {seen[utterance_id]} and again in {split}; "
                    "every id may appear once"
                )
            seen[utterance_id] = split
            yield row

    counts = write_shard(folder / f"{split}.arrow", once())
    return Dataset.from_file(str(folder / f"{split}.arrow")), counts


def write_shard(path: Path, rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Write rows (:func:`encode_utterance`) as one Arrow file, a few in memory at a time.

    Returns:
        how many utterances, frames and valid_frames it holds.
    """
    from datasets.arrow_writer import ArrowWriter

    counts = {"utterances": 0, "frames": 0, "valid_frames": 0}
    unknown = encode_array(unknown_head_pose())
    writer = ArrowWriter(path=str(path), features=_features(), writer_batch_size=_ROWS_PER_BATCH)
    try:
        for row in rows:
            counts["utterances"] += 1
            counts["frames"] += row["num_frames"]
            counts["valid_frames"] += int(decode_array(row["video_valid"]).sum())
            whole = {"head_pose": unknown, **row}  # rows of older folders have none
            writer.write({name: whole[name] for name in COLUMNS})
        writer.finalize()
    finally:
        writer.close()
    return counts


def empty_split() -> datasets.Dataset:
    """A split without utterances."""
    from datasets import Dataset

    return Dataset.from_dict({name: [] for name in COLUMNS}, features=_features())


def _features() -> datasets.Features:
    from datasets import Features, Value

    kinds = dict.fromkeys(_STRINGS, "string")
    kinds |= dict.fromkeys(_ARRAYS, "binary") | dict.fromkeys(_INTEGERS, "int64")
    return Features({name: Value(kinds[name]) for name in COLUMNS})


def load_prepared(folder: Path | str, split: str) -> datasets.Dataset:
    """One split of a prepared corpus, memory-mapped; rows go through :func:`decode_row`.

    Raises:
        ManifestError: unknown split, or the folder is missing or not finished.
    """
    from datasets import load_from_disk

    folder = Path(folder)
    if split not in SPLITS:
        raise ManifestError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if not is_prepared(folder):
        raise ManifestError(
            f"{folder}: no corpus.json, so it is not a finished prepared corpus; "
            "run its 'prepare' command (again: it continues)"
        )
    loaded: Any = load_from_disk(str(folder / split))
    return loaded


def load_info(folder: Path | str) -> dict[str, Any]:
    """The facts in corpus.json.

    Raises:
        ManifestError: the folder is missing or not finished.
    """
    if not is_prepared(folder):
        raise ManifestError(f"{folder}: no corpus.json; run its 'prepare' command")
    info: dict[str, Any] = read_json(Path(folder) / "corpus.json")
    return info


def save_face_templates(path: Path | str, faces: FaceTemplates) -> None:
    """Write mesh, regions and templates as one ``.npz``, atomically."""
    from avsr.files import write_atomically

    arrays = {"topology": np.array(faces.topology), "triangles": faces.triangles.astype(np.int32)}
    arrays |= {f"region/{name}": ids.astype(np.int32) for name, ids in faces.regions.items()}
    arrays |= {
        f"template/{speaker}": vertices.astype(np.float32)
        for speaker, vertices in faces.templates.items()
    }
    with write_atomically(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def load_face_templates(folder: Path | str) -> FaceTemplates:
    """Mesh, regions and neutral faces of a prepared corpus.

    Raises:
        ManifestError: the folder has no face_templates.npz.
    """
    path = Path(folder) / "face_templates.npz"
    if not path.is_file():
        raise ManifestError(f"{path}: no such file; {folder} is not a finished prepared corpus")
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}

    def named(prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }

    return FaceTemplates(
        topology=str(arrays["topology"]),
        triangles=arrays["triangles"],
        regions=named("region/"),
        templates=named("template/"),
    )
