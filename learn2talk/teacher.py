"""Who shows the student how a mouth looks when it says something: three sources, one interface.

A teacher gives the mouth crops of an utterance: of the clip's real film, of a film that any 2D
talking-face method made of its sound, or of our own talking mouth. What a teacher is worth is
measured: likeness to the real film, and what a lip reader reads in it.
"""

# T frames at 25 fps, H W picture (96 x 96 stored, 88 x 88 read)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.corpora.clips import file_stem
from avsr.data.dataset import features_of, middle_crop
from avsr.data.manifest import PreparedUtterance, decode_row, load_prepared
from avsr.files import MediaError, read_video
from avsr.metrics import Score, clustered_bootstrap, word_errors
from avsr.text import normalise
from avsr.tracking import HEAD, LIPS_INNER, LIPS_OUTER, FaceTracker
from avsr.training.recognizer import load_recognizer
from avsr.training.run_folder import provenance
from avsr.units import MODEL_CROP_SIZE
from avsr.video import crop_mouths, fill_missing
from learn2talk.metrics import pooled_mean
from learn2talk.metrics.pictures import structural_similarity
from learn2talk.models.talking_mouth import TalkingMouth
from learn2talk.mouth_files import load_talking_mouth
from learn2talk.readability import read_mouths

LIPS = LIPS_OUTER + LIPS_INNER
MAX_GAP_FRAMES = 12  # without a face, bridged
SHORTEST_SHARE = 0.9  # of an utterance's frames that a film must have


@dataclass(frozen=True, eq=False)
class Mouth:
    """Crops uint8 (T, 88, 88) of an utterance, and at which frames there are any, bool (T,)."""

    crops: NDArray[np.uint8]
    valid: NDArray[np.bool_]


class Teacher(Protocol):
    """Gives the mouth of an utterance; ``name`` stands in results."""

    @property
    def name(self) -> str:
        """What it is called in results."""
        ...

    def mouth(self, utterance: PreparedUtterance) -> Mouth:
        """The mouth while it says the utterance.

        Raises:
            ValueError: it has none for it; names the utterance and the file.
        """
        ...


@dataclass(frozen=True)
class RealFilm:
    """The clip's own film, as the corpus was prepared from it."""

    name: str = "real film"

    def mouth(self, utterance: PreparedUtterance) -> Mouth:
        """See :class:`Teacher`."""
        if not utterance.video_valid.any():
            raise ValueError(
                f"utterance {utterance.utterance_id}: has no film; give a teacher that makes one"
            )
        crops = np.ascontiguousarray(middle_crop(utterance.mouth_crops))
        return Mouth(crops, utterance.video_valid.astype(bool))


class FilmFolder:
    """Films that another method made: ``<folder>/<utterance>.mp4``, slashes written as ``__``.

    Args:
        folder: of the films; any frame rate.
        landmarker_model: ``face_landmarker.task``.

    Raises:
        ValueError: no such folder, or no .mp4 in it.
    """

    def __init__(self, folder: Path | str, landmarker_model: Path | str) -> None:
        self.folder = Path(folder)
        self.name = f"films in {self.folder.name}"
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder}: no such folder; give one with the teacher's films")
        if not any(self.folder.glob("*.mp4")):
            raise ValueError(
                f"{self.folder}: has no film; it needs an .mp4 for each utterance, named "
                f"{self.path_of('<utterance>').name} with __ for a slash"
            )
        self.landmarker_model = landmarker_model

    def path_of(self, utterance_id: str) -> Path:
        """Where the film of an utterance must be."""
        return self.folder / f"{file_stem(utterance_id)}.mp4"

    def missing(self, utterance_ids: Sequence[str]) -> list[str]:
        """Utterances without a film."""
        return [name for name in utterance_ids if not self.path_of(name).is_file()]

    def mouth(self, utterance: PreparedUtterance) -> Mouth:
        """Tracked and cropped as a corpus is; the frames that a shorter film lacks are not valid.

        Raises:
            ValueError: no film, a damaged one, one much shorter than the utterance, or no face.
        """
        path, wanted = self.path_of(utterance.utterance_id), utterance.num_frames
        if not path.is_file():
            raise ValueError(
                f"utterance {utterance.utterance_id}: {path} is missing; make it, or leave the "
                "utterance out"
            )
        frames = read_video(path)[:wanted]
        if len(frames) < SHORTEST_SHARE * wanted:
            raise MediaError(
                f"{path}: {len(frames)} frames for an utterance of {wanted}; the film ends early, "
                "make it again from the whole sound"
            )
        with FaceTracker(self.landmarker_model) as tracker:
            track = tracker.track(frames)
        if not track.tracked.any():
            raise MediaError(f"{path}: no face found in {len(frames)} frames")
        landmarks, valid = fill_missing(
            track.landmarks.astype(np.float64), track.tracked, MAX_GAP_FRAMES
        )
        crops = np.zeros((wanted, MODEL_CROP_SIZE, MODEL_CROP_SIZE), np.uint8)
        seen = np.zeros(wanted, bool)
        seen[: len(frames)] = valid
        crops[: len(frames)] = middle_crop(crop_mouths(frames, landmarks, HEAD, LIPS))
        crops[~seen] = 0
        return Mouth(crops, seen)


class MadeMouth:
    """Our own talking mouth: it speaks an utterance with the mouth of its first valid frame.

    Args:
        folder: of a trained talking mouth.
    """

    def __init__(self, folder: Path | str) -> None:
        self.model: TalkingMouth
        self.model, info = load_talking_mouth(folder)
        self.name = f"talking mouth {info['weights_sha256'][:12]}"

    def mouth(self, utterance: PreparedUtterance) -> Mouth:
        """See :class:`Teacher`; every frame is made, also where the real film has no face."""
        real = RealFilm().mouth(utterance)
        reference = real.crops[int(np.flatnonzero(real.valid)[0])]
        features = features_of(utterance.audio, self.model.config.ear.num_mels)
        crops = say(self.model, features, reference)
        return Mouth(crops, np.ones(len(crops), bool))


@torch.no_grad()
def say(
    model: TalkingMouth, features: NDArray[np.float32], reference: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Crops (T, 88, 88) of a mouth that looks like ``reference`` (88, 88) and says ``features``."""
    sound = torch.from_numpy(features)[None]
    valid = torch.ones(1, len(features) // 4, dtype=torch.bool)
    look = torch.from_numpy(reference)[None].float() / 255
    made = model(sound, look, valid)[0]
    crops: NDArray[np.uint8] = (255 * made).round().to(torch.uint8).numpy()
    return crops


def teacher_quality(
    teacher: Teacher,
    prepared: Path,
    lip_reader: Path | str,
    *,
    split: str = "test",
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Likeness to the real film (SSIM), and the word error rate of a lip reader that sees it.

    Beside it stand the real film and the first valid frame held still: what a lip reader reads in
    these bounds what a teacher can be worth.

    Args:
        teacher: whose mouths are measured.
        prepared: prepared corpus of films.
        lip_reader: a recogniser with mouth crops; it hears nothing.
        split: which clips.
        seed: of the intervals.
        say: receives a line for each utterance that the teacher has no mouth for.

    Returns:
        JSON-ready; 95 % intervals by speaker, by utterance where there is one speaker.

    Raises:
        ValueError: the recogniser reads no mouths, or fewer than two utterances can be measured.
    """
    model, tokenizer = load_recognizer(lip_reader)
    if "crops" not in model.config.streams:
        raise ValueError(
            f"{lip_reader}: reads {', '.join(model.config.streams)}, not mouth crops; give a lip "
            "reader"
        )
    real_film = RealFilm()
    scores: dict[str, list[Score]] = {"teacher": [], "real_film": [], "still": []}
    sums: list[float] = []
    counts: list[int] = []
    clusters: list[tuple[str, str]] = []
    left_out: list[dict[str, str]] = []
    for row in load_prepared(prepared, split):
        utterance = decode_row(row)
        try:
            real, made = real_film.mouth(utterance), teacher.mouth(utterance)
        except ValueError as error:
            left_out.append({"utterance_id": utterance.utterance_id, "reason": str(error)})
            say(f"left out: {error}")
            continue
        first = real.crops[int(np.flatnonzero(real.valid)[0])]
        mouths = {
            "teacher": made,
            "real_film": real,
            "still": Mouth(np.repeat(first[None], len(real.crops), 0), real.valid),
        }
        for name, mouth in mouths.items():
            errors = word_errors(
                reference=normalise(utterance.text),
                hypothesis=read_mouths(model, tokenizer, [mouth.crops], [mouth.valid])[0],
            )
            scores[name].append(
                Score(utterance.utterance_id, utterance.speaker_id, "none", None, None, errors)
            )
        both = real.valid & made.valid
        values = structural_similarity(reference=real.crops[both], prediction=made.crops[both])
        sums.append(float(values.sum()))
        counts.append(len(values))
        clusters.append((utterance.speaker_id, utterance.utterance_id))
    if len(clusters) < 2:
        first = (
            f"; the first of {len(left_out)} left out: {left_out[0]['reason']}" if left_out else ""
        )
        raise ValueError(
            f"{prepared}: {len(clusters)} utterances of split {split!r} can be measured with "
            f"{teacher.name}, and an interval needs 2{first}"
        )
    by = "speaker" if len({speaker for speaker, _ in clusters}) > 1 else "utterance"
    names = [speaker if by == "speaker" else name for speaker, name in clusters]
    ssim = pooled_mean(np.array(sums), np.array(counts), names, clustered_by=by, seed=seed)
    return {
        "teacher": teacher.name,
        "split": split,
        "utterances": len(clusters),
        "left_out": left_out,
        "ssim": _interval(ssim),
        "lip_reading_wer": {
            name: _interval(clustered_bootstrap(found, seed=seed, num_resamples=2000))
            for name, found in scores.items()
        },
        **provenance(),
    }


def _interval(interval: Any) -> dict[str, Any]:
    return {
        name: getattr(interval, name)
        for name in ("value", "low", "high", "clustered_by", "num_clusters")
    }
