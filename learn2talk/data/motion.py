"""Clips of a prepared corpus as training examples of speech and face motion.

Axis letters: B batch, S samples, T frames at 25 fps, F mel bands, V vertices, R animated vertices.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.data.augment import (
    MIRROR_ORDER,
    AugmentConfig,
    interpolate,
    mirror_lips,
    stretch_features,
    stretch_index,
    stretch_waveform,
)
from avsr.data.dataset import Mixer, features_of, generator_of, middle_crop
from avsr.data.manifest import (
    decode_array,
    decode_vertices,
    load_face_templates,
    load_prepared,
)
from avsr.units import FEATURES_PER_FRAME
from learn2talk.data.motion_clip import MotionClip, in_16_bit
from learn2talk.data.silence import with_silence
from learn2talk.schema import FaceTemplate, MotionBatch

if TYPE_CHECKING:
    import datasets

COLUMNS = (
    "utterance_id",
    "speaker_id",
    "audio",
    "lips",
    "vertices",
    "video_valid",
    "words",
    "phones",
    "num_frames",
)
ANIMATED_REGION = "lower_face"
LIPS_AGREE_MM = 1.0  # the lips column and the vertices come from one tracking
Part = Literal["all", "first", "second"]


@dataclass(frozen=True)
class MotionAugment:
    """How strongly training clips are changed; zeros switch a change off."""

    stretch: float = 0.1
    """Duration of sound and motion is scaled by 1 +- this."""
    gain_db: float = 6.0
    """Level of the sound, +- dB."""
    lip_noise_mm: float = 0.2
    """Standard deviation of a constant shift of each lip point that the sync expert sees."""
    flip: bool = True
    """Mirror half of the clips' lips for the sync expert."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.stretch < 1.0 or self.gain_db < 0 or self.lip_noise_mm < 0:
            raise ValueError(f"stretch must be in [0, 1), gain and noise at least 0: {self}")


def animated_ids(template: FaceTemplate) -> NDArray[np.int32]:
    """Vertices that a student moves: the lower face with all lip points, ascending (R,)."""
    return np.union1d(template.region(ANIMATED_REGION), template.lip_ids).astype(np.int32)


def load_templates(folder: Path) -> dict[str, FaceTemplate]:
    """Neutral face of each speaker of a prepared corpus."""
    stored = load_face_templates(folder)
    return {
        speaker: FaceTemplate(stored.topology, vertices, stored.triangles, stored.regions)
        for speaker, vertices in stored.templates.items()
    }


def mean_template(templates: Sequence[FaceTemplate]) -> FaceTemplate:
    """The mean neutral face of several speakers of one topology, mm."""
    first = templates[0]
    vertices = np.mean([template.vertices for template in templates], axis=0)
    return FaceTemplate(first.topology, vertices.astype(np.float32), first.triangles, first.regions)


def _times(text: str, name: str) -> tuple[tuple[str, float, float], ...]:
    return tuple((t[name], float(t["start_s"]), float(t["end_s"])) for t in json.loads(text))


class MotionClips:
    """Clips of a prepared split, decoded once and kept in memory, with their augmentation.

    Args:
        folder: prepared corpus.
        split: "train", "valid" or "test".
        num_mels: F.
        window_frames: a clip needs this many tracked frames in a row; the others are listed in
            `excluded` as (utterance_id, reason).
        part: "first" and "second" are two fixed halves of the split, disjoint by utterance.
        augment: how training examples are changed; None: not at all.
        seed: of the augmentation's draws.
        mouth_crops: whether examples have the clip's real mouth crops; these are not kept in
            memory but read anew for each example.
        waveforms: students hear the samples, through a pretrained encoder, not `features`.
        mix_noise: adds noise to what a student hears of an example; None: nothing is added.
        silence_share: of the examples that end in silence, with a mouth at rest; 0: none.

    Raises:
        ValueError: no clip is left, a speaker has no template, or lips and vertices disagree.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        num_mels: int = 80,
        window_frames: int = 1,
        part: Part = "all",
        augment: MotionAugment | None = None,
        seed: int = 0,
        mouth_crops: bool = False,
        waveforms: bool = False,
        mix_noise: Mixer | None = None,
        silence_share: float = 0.0,
    ) -> None:
        self.silence_share = silence_share
        self.folder, self.split, self.augment, self.seed = folder, split, augment, seed
        self.num_mels, self.waveforms, self.mix_noise = num_mels, waveforms, mix_noise
        self.templates = load_templates(folder)
        self.animated_ids = animated_ids(next(iter(self.templates.values())))
        self.clips: list[MotionClip] = []
        self.excluded: list[tuple[str, str]] = []
        stored: datasets.Dataset = load_prepared(folder, split)
        self._crops = stored.select_columns(["mouth_crops"]) if mouth_crops else None
        self._rows: list[int] = []  # of each clip in the stored split
        for number, row in enumerate(stored.select_columns(list(COLUMNS))):
            if part != "all" and half_of(row["utterance_id"]) != part:
                continue
            clip = self._decode(row)
            if longest_run(clip.tracked) < window_frames:
                reason = f"no {window_frames} tracked frames in a row"
                self.excluded.append((clip.utterance_id, reason))
                continue
            self.clips.append(clip)
            self._rows.append(number)
        if not self.clips:
            raise ValueError(
                f"{folder}: split {split!r} (part {part!r}) has no usable clip, "
                f"{len(self.excluded)} excluded; prepare the corpus with more utterances"
            )
        self.num_frames = [clip.num_frames for clip in self.clips]

    def _decode(self, row: dict[str, Any]) -> MotionClip:
        name, speaker = row["utterance_id"], row["speaker_id"]
        if speaker not in self.templates:
            raise ValueError(
                f"{self.folder}: utterance {name} is of speaker {speaker!r}, who has no template; "
                "prepare the corpus again"
            )
        template = self.templates[speaker]
        lips, vertices = decode_array(row["lips"]), decode_vertices(row["vertices"])
        tracked = decode_array(row["video_valid"]).astype(bool)
        apart = np.abs(lips - vertices[:, template.lip_ids]).max(axis=(1, 2))
        if tracked.any() and float(np.median(apart[tracked])) > LIPS_AGREE_MM:
            raise ValueError(
                f"{self.folder}: utterance {name} has lips {np.median(apart[tracked]):.1f} mm away "
                "from its vertices' lip points; prepare the corpus again"
            )
        ids, audio = self.animated_ids, decode_array(row["audio"])
        keep = self.waveforms or self.mix_noise is not None
        return MotionClip(
            utterance_id=name,
            speaker_id=speaker,
            features=features_of(audio, self.num_mels),
            lips=lips.astype(np.float32),
            neutral_lips=template.lips,
            displacement=(vertices[:, ids] - template.vertices[ids]).astype(np.float32),
            tracked=tracked,
            words=_times(row["words"], "word"),
            phones=_times(row["phones"], "phone"),
            waveform=in_16_bit(audio) if keep else None,
        )

    def __len__(self) -> int:
        return len(self.clips)

    def example(self, index: int, epoch: int) -> MotionClip:
        """Clip `index` as it looks in `epoch`."""
        clip = self.clips[index]
        if self._crops is not None:
            crops = middle_crop(decode_array(self._crops[self._rows[index]]["mouth_crops"]))
            clip = replace(clip, mouth_crops=crops)
        generator = generator_of(self.seed, epoch, clip.utterance_id)
        draw = int(generator.integers(2**31))
        example = changed(clip, self.augment, generator, draw, self._heard(clip, epoch))
        # Its own draws, so that the rest is as it is without silence.
        quiet = generator_of(self.seed, epoch, f"{clip.utterance_id}/silence")
        if quiet.random() < self.silence_share:
            example = with_silence(example, quiet, self.num_mels)
        return example

    def _heard(self, clip: MotionClip, epoch: int) -> NDArray[np.float32] | None:
        """What a student hears before augmentation, where it is not the clip's features."""
        if clip.waveform is None:
            return None
        sound = clip.sound
        if self.mix_noise is not None:
            # Its own draws, so that the motion is changed as in training without noise.
            noise_draws = generator_of(self.seed, epoch, f"{clip.utterance_id}/noise")
            try:
                sound = self.mix_noise(sound, noise_draws)
            except ValueError as error:
                raise ValueError(f"utterance {clip.utterance_id}: {error}") from error
        return sound if self.waveforms else features_of(sound, self.num_mels)


def half_of(utterance_id: str) -> Part:
    """In which of the two halves of a split an utterance lies: fixed by its name alone."""
    return "first" if generator_of(0, 0, utterance_id).integers(2) == 0 else "second"


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int(np.diff(edges.reshape(-1, 2), axis=1).max(initial=0))


def changed(
    clip: MotionClip,
    augment: MotionAugment | None,
    generator: np.random.Generator,
    draw: int,
    heard: NDArray[np.float32] | None = None,
) -> MotionClip:
    """A clip with sound and motion stretched together, another level, and moved lip points.

    The displacement (the student's target) and the mouth crops are stretched but neither mirrored
    nor moved; of the crops the nearest one is taken.


    Args:
        clip: as it is in the corpus.
        augment: how strongly; None changes nothing.
        generator: source of the draws.
        draw: kept with the example.
        heard: log-mel (4 T, F) or samples (S,) that a student hears; None: the clip's features.
    """
    features, lips, neutral = clip.features, clip.lips, clip.neutral_lips
    displacement, tracked, crops = clip.displacement, clip.tracked, clip.mouth_crops
    if augment is not None:
        positions = stretch_index(
            clip.num_frames, AugmentConfig(stretch=augment.stretch), generator
        )
        features = stretch_features(features, positions)
        lips, displacement = interpolate(lips, positions), interpolate(displacement, positions)
        low = np.floor(positions).astype(int)
        high = np.minimum(low + 1, clip.num_frames - 1)
        tracked = tracked[low] & tracked[high]
        if crops is not None:
            crops = crops[np.rint(positions).astype(int)]
        gain_db = generator.uniform(-augment.gain_db, augment.gain_db)
        # A gain adds a constant to log power; the floor moves with it, as a noise floor would.
        louder = np.float32(gain_db * np.log(10.0) / 10.0)
        features = features + louder
        if heard is not None and heard.ndim == 1:
            heard = stretch_waveform(heard, positions) * np.float32(10 ** (gain_db / 20))
        elif heard is not None:
            heard = stretch_features(heard, positions) + louder
        if augment.flip and generator.random() < 0.5:
            lips = mirror_lips(lips, MIRROR_ORDER)
            neutral = mirror_lips(neutral[None], MIRROR_ORDER)[0]
        moved = generator.normal(0, augment.lip_noise_mm, lips.shape[1:])
        lips = lips + moved.astype(np.float32)
    if heard is not None and heard.ndim == 1:
        heard = features_of(heard, None)
    return replace(
        clip,
        features=features.astype(np.float32),
        lips=lips.astype(np.float32),
        neutral_lips=neutral.astype(np.float32),
        displacement=displacement.astype(np.float32),
        tracked=tracked,
        draw=draw,
        mouth_crops=crops,
        waveform=None,
        heard=None if heard is None else heard.astype(np.float32),
    )


def collate_motion(clips: Sequence[MotionClip], window_frames: int = 1) -> MotionBatch:
    """Clips to a padded batch; its targets are the windows of really tracked frames.

    Args:
        clips: one or more.
        window_frames: length of a target window; 1 counts frames.
    """
    longest = max(clip.num_frames for clip in clips)

    def padded(arrays: Sequence[np.ndarray], per_frame: int = 1) -> torch.Tensor:
        out = np.zeros((len(arrays), longest * per_frame, *arrays[0].shape[1:]), arrays[0].dtype)
        for row, array in enumerate(arrays):
            out[row, : len(array)] = array
        return torch.from_numpy(out)

    tracked = padded([clip.tracked for clip in clips])
    if longest >= window_frames:
        num_targets = int(tracked.unfold(1, window_frames, 1).all(dim=2).sum())
    else:
        num_targets = 0
    heard = [clip.heard for clip in clips if clip.heard is not None]
    assert len(heard) in (0, len(clips)), "all examples of a batch are heard in one way"
    draw = 0
    for clip in clips:
        draw = (31 * draw + clip.draw) % 2**31
    crops = [clip.mouth_crops for clip in clips if clip.mouth_crops is not None]
    return MotionBatch(
        utterance_ids=tuple(clip.utterance_id for clip in clips),
        features=padded([clip.features for clip in clips], FEATURES_PER_FRAME),
        valid_mask=padded([np.ones(clip.num_frames, bool) for clip in clips]),
        tracked_mask=tracked,
        lips=padded([clip.lips for clip in clips]),
        neutral_lips=torch.from_numpy(np.stack([clip.neutral_lips for clip in clips])),
        displacement=padded([clip.displacement for clip in clips]),
        num_targets=num_targets,
        draw=draw,
        mouth_crops=padded(crops) if len(crops) == len(clips) else None,
        speaker_ids=tuple(clip.speaker_id for clip in clips),
        heard=padded(heard, FEATURES_PER_FRAME) if heard else None,
    )
