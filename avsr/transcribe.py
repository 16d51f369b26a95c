"""A sound or video file in, its text with times out."""

# T frames, K vocabulary with blank 0

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avsr.data.collate import collate
from avsr.decode.alignment import ctc_align
from avsr.decode.config import DecodingConfig
from avsr.decode.decoding import decode_memory
from avsr.decode.lm import LanguageModel
from avsr.decode.windows import WindowConfig, join_words
from avsr.files import MediaError, MediaStreams, probe_media
from avsr.long_form import FilmFacts, TalkWindow, windows_of
from avsr.models.recognizer import Recognizer
from avsr.schema import AskedModality, Modality, RecognizedWord, Segment, Transcript
from avsr.text import Tokenizer
from avsr.tracking import FaceTracker, TrackingError, find_face_landmarker
from avsr.training.recognizer import load_recognizer
from avsr.units import SAMPLE_RATE_HZ, VIDEO_FPS

SEGMENT_PAUSE_S = 0.8  # between two words: a new segment begins
KNOWN_TIMES = 0.2  # an untrained head gives each token 1 / K
MAX_DIFFERENCE_S = 0.5  # between sound and picture: recorders start and stop them a little apart
DEFAULT_DECODING = DecodingConfig()
DEFAULT_WINDOWS = WindowConfig()


def transcribe(
    path: Path | str,
    recognizer: Path | str | tuple[Recognizer, Tokenizer],
    *,
    modality: AskedModality = "auto",
    landmarker_model: Path | str | None = None,
    decoding: DecodingConfig = DEFAULT_DECODING,
    language_model: LanguageModel | None = None,
    windows: WindowConfig = DEFAULT_WINDOWS,
) -> Transcript:
    """What is said in a sound or video file of any length, with times and confidences.

    Args:
        path: any rate; resampled to 16 kHz and 25 fps.
        recognizer: ``best.safetensors`` of a run, or what :func:`load_recognizer` returned.
        modality: ``"audio"`` reads sound only, ``"video"`` pictures only, ``"audio_visual"`` both,
            ``"auto"`` what there is of them and the network can read.
        landmarker_model: ``face_landmarker.task`` for the visual modalities; ``None`` looks for it
            in this folder, in the cache and in AVSR_DATA.
        decoding: how, for each window.
        language_model: for joint decoding.
        windows: how long talk is cut.

    Returns:
        The transcript. Its warnings tell, for example, that no face was found and the sound was
        read alone, or that one of several faces was chosen.

    Raises:
        ValueError: a damaged file, one that lacks what the modality needs, a recogniser without the
            streams.
    """
    path = Path(path)
    model, tokenizer = (
        load_recognizer(recognizer) if isinstance(recognizer, str | Path) else recognizer
    )
    known: set[str] = {name for name in model.config.streams if name in ("audio", "crops")}
    _check_streams(modality, known, model)
    media = probe_media(path)
    wanted, warnings = _wanted(path, media, modality, known)
    facts = FilmFacts()
    words: list[RecognizedWord] = []
    with ExitStack() as stack:
        tracker = None
        if "crops" in wanted:
            try:
                tracker = stack.enter_context(_tracker(landmarker_model))
            except TrackingError as error:
                if modality != "auto" or "audio" not in wanted:
                    raise
                warnings.append(f"{path}: lips are not read: {error}")
                wanted = {"audio"}
        stretches = windows_of(
            path,
            facts,
            sound="audio" in wanted,
            tracker=tracker,
            audio_delay_s=media.audio_delay_s,
            num_mels=model.config.num_mels,
            config=windows,
        )
        for batch in _batches(stretches, windows.batch):
            texts = _decode(batch, model, tokenizer, decoding, language_model)
            for window, said in zip(batch, texts, strict=True):
                words = join_words(words, said, window.cut_s, window.overlap_s)
    wanted = _check_faces(path, facts, wanted, warnings)
    read: Modality = "audio_visual" if len(wanted) == 2 else "audio"
    if wanted == {"crops"}:
        read = "video"
    return Transcript(str(path), facts.duration_s, read, segments_of(words), tuple(warnings))


def _check_streams(modality: AskedModality, known: set[str], model: Recognizer) -> None:
    needed = {"auto": set(), "audio": {"audio"}, "video": {"crops"}}
    missing = sorted(needed.get(modality, {"audio", "crops"}) - known)
    if missing or not known:
        raise ValueError(
            f"modality {modality!r} needs the streams {missing or ['audio', 'crops']}, this "
            f"recogniser was trained with {list(model.config.streams)}; give another one, or "
            "another --modality"
        )


def _wanted(
    path: Path, media: MediaStreams, modality: AskedModality, known: set[str]
) -> tuple[set[str], list[str]]:
    """Streams to read of a file, and what the user must know about those that are not there."""
    asked = {"audio": {"audio"}, "video": {"crops"}}.get(modality, known)
    there = {name for name, has in (("audio", media.has_audio), ("crops", media.has_video)) if has}
    wanted, warnings = asked & there, []
    if not wanted:
        lacks, gives = ("audio", "sound") if "audio" in asked else ("video", "pictures")
        raise MediaError(f"{path}: has no {lacks} stream; give a file with {gives}")
    if "audio" in asked - there:
        warnings.append(f"{path}: has no audio stream; read from the lips alone")
    if "crops" in asked - there and modality == "audio_visual":
        warnings.append(f"{path}: has no video stream; read from the sound alone")
    return wanted, warnings


def _tracker(landmarker: Path | str | None) -> FaceTracker:
    found = landmarker or find_face_landmarker(os.environ.get("AVSR_DATA"))
    if found is None:
        raise TrackingError(
            "reading lips needs the face tracker's model; run 'avsr fetch face-landmarker', or "
            "give its path with --landmarker-model"
        )
    return FaceTracker(found)


def _batches(windows: Iterator[TalkWindow], size: int) -> Iterator[list[TalkWindow]]:
    while batch := list(islice(windows, size)):
        yield batch


@torch.no_grad()
def _decode(
    windows: list[TalkWindow],
    model: Recognizer,
    tokenizer: Tokenizer,
    decoding: DecodingConfig,
    language_model: LanguageModel | None,
) -> list[list[RecognizedWord]]:
    """The words of each window; a window without sound and face has none."""
    said: list[list[RecognizedWord]] = [[] for _ in windows]
    rows = [
        row
        for row, window in enumerate(windows)
        if window.example.features is not None or window.example.mouth_crops is not None
    ]
    if not rows:
        return said
    device = next(model.parameters()).device
    batch = collate([windows[row].example for row in rows]).to(device)
    encoded, valid_mask = model.encode_batch(batch)
    memory = model.fuse(encoded, valid_mask)
    texts = decode_memory(model, memory, batch.lengths, decoding, language_model)
    scores = model.ctc_logits(memory).float().log_softmax(-1).cpu().numpy()
    told = _frame_scores(model.frame_logits(encoded)).cpu().numpy()
    for number, row in enumerate(rows):
        window, tokens = windows[row], texts[number]
        part = slice(window.example.num_frames)
        first = window.first_frame
        said[row] = words_of(tokens, scores[number, part], told[number, part], tokenizer, first)
    return said


def _frame_scores(frames: dict[Any, tuple[Tensor, Tensor]]) -> Tensor:
    """log P(token said at a frame) (B, T, K): mean of the streams that are there."""
    summed = sum(
        logits.float().log_softmax(-1) * there[..., None] for logits, there in frames.values()
    )
    assert isinstance(summed, Tensor), "no stream"
    return summed.log_softmax(-1)


def words_of(
    tokens: Sequence[int],
    ctc_scores: np.ndarray,
    frame_scores: np.ndarray,
    tokenizer: Tokenizer,
    first_frame: int = 0,
) -> list[RecognizedWord]:
    """Words of decoded tokens, with times and confidences by forced alignment.

    The confidence is the mean posterior of the word's tokens along their CTC alignment. CTC may
    tell a token long before or after it is said, so the times come from the heads that were trained
    with word times, aligned in the same way; where these do not know the tokens (mean posterior
    below ``KNOWN_TIMES``: never trained, or another text), from CTC.

    Args:
        tokens: ids without blanks.
        ctc_scores: float (T, K), log posteriors that the tokens were decoded from.
        frame_scores: float (T, K), log posteriors of the token that is said at each frame.
        tokenizer: of the network.
        first_frame: of the T frames, in the file.
    """
    spans = ctc_align(ctc_scores, tokens)
    confidences = [probability for _, _, probability in spans]
    timed = ctc_align(frame_scores, tokens)
    if np.mean([probability for _, _, probability in timed] or [0.0]) >= KNOWN_TIMES:
        spans = timed
    names: list[str] = tokenizer.decode(tokens).split()
    of_word: list[list[int]] = [[] for _ in names]
    text, pending = "", []
    for number in range(len(tokens)):
        before, text = text, tokenizer.decode(tokens[: number + 1])
        pending.append(number)
        if text != before:  # a lone word mark says nothing yet: it belongs to what follows
            of_word[min(len(text.split()), len(names)) - 1] += pending
            pending = []
    return [
        RecognizedWord(
            name,
            (first_frame + spans[parts[0]][0]) / VIDEO_FPS,
            (first_frame + spans[parts[-1]][1]) / VIDEO_FPS,
            float(np.mean([confidences[number] for number in parts])),
        )
        for name, parts in zip(names, of_word, strict=True)
        if parts
    ]


def segments_of(words: Iterable[RecognizedWord]) -> tuple[Segment, ...]:
    """Words parted at pauses of 0.8 s and more."""
    groups: list[list[RecognizedWord]] = []
    for word in words:
        if not groups or word.start_s - groups[-1][-1].end_s >= SEGMENT_PAUSE_S:
            groups.append([])
        groups[-1].append(word)
    return tuple(Segment(tuple(group)) for group in groups)


def _check_faces(path: Path, facts: FilmFacts, wanted: set[str], warnings: list[str]) -> set[str]:
    """What was really read; adds what the user must know about the faces and the lengths."""
    if "crops" not in wanted:
        return wanted
    pictures, valid = facts.num_pictures, facts.num_valid
    if valid == 0:
        if "audio" not in wanted:
            raise TrackingError(
                f"{path}: no face found in any of {pictures} frames; is it an upright, frontal "
                "talking face? '--modality audio' needs none"
            )
        warnings.append(f"{path}: no face found in any of {pictures} frames; sound alone was read")
        return {"audio"}
    if valid < 0.9 * pictures:
        alone = "the sound alone was read" if "audio" in wanted else "nothing was read"
        warnings.append(f"{path}: a face in {valid} of {pictures} frames; in the others {alone}")
    if facts.most_faces > 1:
        why = "whose mouth goes with the sound" if "audio" in wanted else "whose mouth moves most"
        changes = ", ".join(f"{at_s:.0f} s" for at_s, _ in facts.talkers[1:])
        warnings.append(
            f"{path}: up to {facts.most_faces} faces at once; the one {why} was read"
            + (f", another one from {changes}" if changes else "")
        )
    sound_s, pictures_s = facts.num_samples / SAMPLE_RATE_HZ, pictures / VIDEO_FPS
    if "audio" in wanted and abs(sound_s - pictures_s) > MAX_DIFFERENCE_S:
        warnings.append(
            f"{path}: {sound_s:.1f} s of sound but {pictures_s:.1f} s of pictures; where one of "
            "them is missing it counts as silence or as no face"
        )
    return wanted
