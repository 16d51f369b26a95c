"""A file in, its text out."""

# S samples, T frames at 25 fps

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from avsr.corpora.talking_faces import LIPS, PrepareConfig
from avsr.data.collate import collate
from avsr.data.dataset import Example, features_of, middle_crop
from avsr.decode.ctc import ctc_prefix_beam
from avsr.files import MediaError, read_audio, read_video
from avsr.models.recognizer import Recognizer
from avsr.schema import Modality
from avsr.text import Tokenizer
from avsr.tracking import HEAD, FaceTracker, TrackingError
from avsr.training.recognizer import load_recognizer
from avsr.units import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, VIDEO_FPS, num_video_frames
from avsr.video import crop_mouths, fill_missing, reject_broken_segments

MAX_AUDIO_S = 60.0  # the networks were trained on sentences; longer talk needs cutting first
MAX_DIFFERENCE_S = 0.5  # between sound and picture: recorders start and stop them a little apart


def transcribe(
    path: Path | str,
    recognizer: Path | str | tuple[Recognizer, Tokenizer],
    *,
    modality: Modality = "audio",
    landmarker_model: Path | None = None,
    beam_size: int = 10,
) -> str:
    """Text of a sound or video file.

    Args:
        path: sound or video, any rate; resampled to 16 kHz and 25 fps.
        recognizer: ``best.safetensors`` of a run, or what :func:`load_recognizer` returned.
        modality: ``"audio"`` needs sound only, ``"video"`` pictures only, ``"audio_visual"`` both.
        landmarker_model: ``face_landmarker.task``, needed for the visual modalities.
        beam_size: of the CTC prefix search, 1 or more.

    Raises:
        ValueError: a file that lacks what the modality needs, no face, a recogniser without the
            streams, more than a minute of speech, or sound and picture of different lengths.
    """
    model, tokenizer = (
        load_recognizer(recognizer) if isinstance(recognizer, str | Path) else recognizer
    )
    needed = {"audio": {"audio"}, "video": {"crops"}, "audio_visual": {"audio", "crops"}}[modality]
    if missing := sorted(needed - set(model.config.streams)):
        raise ValueError(
            f"modality {modality!r} needs the streams {missing}, this recogniser was trained with "
            f"{list(model.config.streams)}; give another one, or another --modality"
        )
    example = _example(Path(path), needed, model.config.num_mels, landmarker_model)
    batch = collate([example])
    with torch.no_grad():
        scores = model(batch)[0].float().log_softmax(-1).numpy()
    tokens, _ = ctc_prefix_beam(scores, beam_size)[0]
    return tokenizer.decode(tokens)


def _example(
    path: Path, needed: Iterable[str], num_mels: int | None, landmarker: Path | None
) -> Example:
    features, crops, waveform = None, None, None
    if "audio" in needed:
        waveform = read_audio(path)
        seconds = len(waveform) / SAMPLE_RATE_HZ
        if seconds > MAX_AUDIO_S:
            raise MediaError(
                f"{path}: {seconds:.0f} s of sound, more than {MAX_AUDIO_S:.0f} s; cut it into "
                "sentences first (whole talks come with a later version)"
            )
        num_frames = num_video_frames(len(waveform))
    if "crops" in needed:
        crops, valid = _mouths(path, landmarker)
        num_frames = len(crops)
        if waveform is not None:
            wanted = num_frames * SAMPLES_PER_FRAME
            if abs(len(waveform) - wanted) > MAX_DIFFERENCE_S * SAMPLE_RATE_HZ:
                raise MediaError(
                    f"{path}: {len(waveform) / SAMPLE_RATE_HZ:.1f} s of sound but "
                    f"{num_frames / VIDEO_FPS:.1f} s of pictures; cut the file so that they "
                    f"differ by at most {MAX_DIFFERENCE_S} s, or read one with --modality"
                )
            waveform = np.pad(waveform[:wanted], (0, max(0, wanted - len(waveform))))
    else:
        valid = np.zeros(num_frames, dtype=bool)
    if waveform is not None:
        features = features_of(waveform, num_mels)
    return Example(
        utterance_id=path.stem,
        num_frames=num_frames,
        features=features,
        mouth_crops=None if crops is None else middle_crop(crops),
        lips=None,
        crops_valid=valid,
        lips_valid=np.zeros(num_frames, dtype=bool),
        tokens=(),
    )


def _mouths(path: Path, landmarker: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Mouth crops (T, 96, 96) of a film and which frames were tracked (T,)."""
    if landmarker is None:
        raise ValueError(
            "reading lips needs the face tracker's model; run 'avsr fetch face-landmarker' and "
            "give its path with --landmarker-model"
        )
    frames = read_video(path)
    if len(frames) > MAX_AUDIO_S * VIDEO_FPS:
        raise MediaError(
            f"{path}: {len(frames) / VIDEO_FPS:.0f} s of pictures, more than {MAX_AUDIO_S:.0f} s; "
            "cut it into sentences first (whole talks come with a later version)"
        )
    with FaceTracker(landmarker) as tracker:
        track = tracker.track(frames)
    if not track.tracked.any():
        raise TrackingError(
            f"{path}: no face found in any of {len(frames)} frames; is it an upright, frontal "
            "talking face? '--modality audio' needs none"
        )
    valid = reject_broken_segments(frames, track.tracked)
    landmarks, bridged = fill_missing(
        track.landmarks.astype(np.float64), valid, PrepareConfig().max_missing_frames
    )
    crops = crop_mouths(frames, landmarks, HEAD, LIPS)
    crops[~bridged] = 0
    return crops, valid
