"""Lip readers of a benchmark: ours, and imported Auto-AVSR and AV-HuBERT weights.

Each reads mouth crops of its own kind without sound. Axis letters: T frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.data.dataset import middle_crop
from avsr.files import sha256_file
from avsr.pretrained.imported import WEIGHTS_FILE, Imported, is_imported, load_imported
from avsr.pretrained.imported_decoding import default_decoding, recognise, streams_of, text_of_ids
from avsr.pretrained.mouth_crops import CROP_SIDE
from avsr.text import normalise
from avsr.training.hub import recognizer_file
from avsr.training.recognizer import load_recognizer
from avsr.units import VIDEO_FPS
from learn2talk.drawing import CROP_MOUTH_SHARE
from learn2talk.face_benchmark.films import OURS, Alignment
from learn2talk.readability import BATCH, read_mouths

MOUTH_CORNERS = (48, 54)  # of the 68-point markup
IMPORTED_BEAM = 10
MAX_S = 60.0  # imported networks were trained on sentences
BUNDLED = "bundled"

Mouths = Sequence[NDArray[np.uint8]]
Read = Callable[[Mouths, Sequence[NDArray[np.bool_]]], list[str]]


@dataclass(frozen=True, eq=False)
class LipReader:
    """A recogniser that sees mouths and hears nothing.

    name: in the report. sha256: of its weights. kind: "avsr", "auto_avsr" or "av_hubert".
    crops: which kind of a film's crops it reads. mouth_share: of a drawn crop's width between the
    corners of the mouth. read: crops uint8 (T, 96, 96) with valid (T,) to texts.
    """

    name: str
    sha256: str
    kind: str
    crops: str
    mouth_share: float
    read: Read
    alignment: Alignment | None = None


def load_lip_reader(path: Path | str, name: str | None = None) -> LipReader:
    """A lip reader from a file or folder.

    Raises:
        ValueError: it reads no mouths, needs sound, or gives no text.
    """
    path = Path(path)
    if is_imported(path):
        return _imported(path, name)
    model, tokenizer = load_recognizer(path)
    if "crops" not in model.config.streams:
        raise ValueError(
            f"{path}: takes {', '.join(model.config.streams)}, not mouth crops; give a recogniser "
            "that was trained on mouths"
        )
    file = recognizer_file(path)

    def read(mouths: Mouths, valid: Sequence[NDArray[np.bool_]]) -> list[str]:
        said: list[str] = []
        for first in range(0, len(mouths), BATCH):
            part = slice(first, first + BATCH)
            cut = [np.ascontiguousarray(middle_crop(one)) for one in mouths[part]]
            said += read_mouths(model, tokenizer, cut, valid[part])
        return said

    own = name or (file.parent.name if file.stem in ("best", "model") else file.stem)
    return LipReader(own, sha256_file(file), "avsr", OURS, CROP_MOUTH_SHARE, read)


def _imported(path: Path, name: str | None) -> LipReader:
    imported = load_imported(path)
    try:
        streams_of(imported, "video")
        decoding = default_decoding(imported, IMPORTED_BEAM)
    except ValueError as error:
        raise ValueError(f"{path}: reads no mouth without sound ({error})") from error
    if imported.symbols is None:
        raise ValueError(
            f"{path}: gives token ids and no text; import the weights with their units or "
            "dictionary"
        )

    def read(mouths: Mouths, valid: Sequence[NDArray[np.bool_]]) -> list[str]:
        return [
            _read_one(path, imported, crops, decoding) if seen.any() else ""
            for crops, seen in zip(mouths, valid, strict=True)
        ]

    sha256 = sha256_file(path / WEIGHTS_FILE)
    faces = tuple(sorted(imported.mean_face.items()))
    return LipReader(
        name or path.resolve().name,
        sha256,
        imported.network,
        sha256[:12],
        _mouth_share(imported),
        read,
        Alignment(imported.network, faces),
    )


def _read_one(path: Path, imported: Imported, crops: NDArray[np.uint8], decoding: Any) -> str:
    if len(crops) > MAX_S * VIDEO_FPS:
        raise ValueError(
            f"{path}: reads sentences of up to {MAX_S:g} s, an utterance has "
            f"{len(crops) / VIDEO_FPS:.0f}; leave it out or cut it"
        )
    return normalise(text_of_ids(imported, recognise(imported, crops=crops, config=decoding)))


def _mouth_share(imported: Imported) -> float:
    """Of the crop's width that lies between the mouth's corners of the mean face."""
    left, right = (imported.mean_face.get(corner) for corner in MOUTH_CORNERS)
    if left is None or right is None:
        return CROP_MOUTH_SHARE
    return float(np.hypot(right[0] - left[0], right[1] - left[1]) / CROP_SIDE)
