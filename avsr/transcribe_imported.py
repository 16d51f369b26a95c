"""A sound or video file in, its text out, through imported weights and their own mouth crops."""

# S samples, T frames at 25 fps

from __future__ import annotations

from pathlib import Path

import numpy as np

from avsr.decode.config import DecodingConfig
from avsr.files import MediaError, read_audio, read_video
from avsr.pretrained.imported import Imported
from avsr.pretrained.imported_decoding import (
    default_decoding,
    recognise,
    streams_of,
    text_of_ids,
)
from avsr.pretrained.mouth_crops import AUTO_AVSR, AV_HUBERT, aligned_mouth_crops
from avsr.schema import Modality
from avsr.tracking import FaceTracker, TrackingError
from avsr.units import SAMPLE_RATE_HZ, VIDEO_FPS
from avsr.video import fill_missing

MAX_S = 60.0  # the networks were trained on sentences
MAX_MISSING_SHARE = 0.5  # of the frames may be without a face


def transcribe_imported(
    path: Path | str,
    imported: Imported,
    *,
    modality: Modality,
    landmarker_model: Path | str | None = None,
    decoding: DecodingConfig | None = None,
) -> str:
    """Text of a sentence in a file; token ids where the folder has no text units.

    Args:
        path: sound or video, any rate; resampled to 16 kHz and 25 fps.
        imported: what :func:`avsr.pretrained.imported.load_imported` returned.
        modality: ``"audio"``, ``"video"`` or ``"audio_visual"``; Auto-AVSR weights take exactly
            theirs.
        landmarker_model: ``face_landmarker.task``, needed for the pictures.
        decoding: how; ``None`` is the way nearest to the published one, with a beam of 10.

    Raises:
        ValueError: more than a minute, no face, a file without the stream, weights that take
            another modality or give no text.
    """
    path = Path(path)
    streams = streams_of(imported, modality)
    decoding = decoding or default_decoding(imported, 10)
    crops = waveform = None
    if "audio" in streams:
        waveform = read_audio(path)
        _check_length(path, len(waveform) / SAMPLE_RATE_HZ)
    if "video" in streams:
        crops = _crops(path, imported, landmarker_model)
    ids = recognise(imported, crops=crops, waveform=waveform, config=decoding)
    return text_of_ids(imported, ids)


def _check_length(path: Path, seconds: float) -> None:
    if seconds > MAX_S:
        raise MediaError(
            f"{path}: {seconds:.0f} s, more than {MAX_S:.0f} s; these networks were trained on "
            "sentences, cut the file into sentences first"
        )


def _crops(path: Path, imported: Imported, landmarker: Path | str | None) -> np.ndarray:
    """Mouth crops uint8 (T, 96, 96) in the convention of the weights' project."""
    if landmarker is None:
        raise ValueError(
            "reading lips needs the face tracker's model; run 'avsr fetch face-landmarker' and "
            "give its path with --landmarker-model"
        )
    frames = read_video(path)
    _check_length(path, len(frames) / VIDEO_FPS)
    with FaceTracker(landmarker) as tracker:
        track = tracker.track(frames)
    found = int(track.tracked.sum())
    if found < MAX_MISSING_SHARE * len(frames):
        raise TrackingError(
            f"{path}: a face in {found} of {len(frames)} frames; is it an upright, frontal talking "
            "face? weights that take sound need none"
        )
    # As both projects do: gaps of any length are interpolated, the ends held.
    landmarks, _ = fill_missing(track.landmarks.astype(np.float64), track.tracked, len(frames))
    convention = AUTO_AVSR if imported.network == "auto_avsr" else AV_HUBERT
    return aligned_mouth_crops(frames, landmarks, convention, imported.mean_face)
