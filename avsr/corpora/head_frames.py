"""One head frame and one neutral face for each speaker, from that speaker's tracked clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from avsr.corpora.clips import TalkingClip, of_split
from avsr.tracking import HEAD, LIPS_INNER
from avsr.units import VIDEO_FPS
from avsr.video import Similarity, fit_similarity

Tracked = dict[TalkingClip, Path]  # a clip and the .npz of `avsr.corpora.clip_tracking`


def move(vertices: np.ndarray, head: Similarity) -> np.ndarray:
    """Vertices (T, V, 3) brought into a head frame, float32."""
    return head.apply(vertices.astype(np.float64)).astype(np.float32)


def _speakers(done: Tracked) -> Iterator[tuple[str, list[TalkingClip]]]:
    """Each speaker with its training clips (all its clips where none is for training)."""
    by_speaker: dict[str, list[TalkingClip]] = {}
    for clip in done:
        by_speaker.setdefault(clip.speaker_id, []).append(clip)
    for speaker in sorted(by_speaker):
        own = by_speaker[speaker]
        yield speaker, of_split(own, "train") or own


def head_frames(done: Tracked) -> dict[TalkingClip, Similarity]:
    """For each clip the transform from its own head frame to its speaker's.

    The scale and tilt that a single clip gives are noisy. The mean of the stable points over the
    speaker's training clips is the reference; a clip is brought to it by one similarity transform.
    """
    means: dict[TalkingClip, np.ndarray] = {}
    for clip, path in done.items():
        with np.load(path) as arrays:
            stable = arrays["vertices"][arrays["video_valid"]][:, list(HEAD.stable)]
            means[clip] = stable.astype(np.float64).mean(0)
    references = {
        speaker: np.mean([means[clip] for clip in training], axis=0)
        for speaker, training in _speakers(done)
    }
    return {clip: fit_similarity(means[clip], references[clip.speaker_id]) for clip in done}


def silent_frames(clip: TalkingClip, num_frames: int) -> np.ndarray:
    """bool (T,): True where the whole frame lies in a silence; all True where none is known."""
    silent = np.full(num_frames, clip.silences is None)
    for span in clip.silences or ():
        silent[int(np.ceil(span.start_s * VIDEO_FPS)) : int(span.end_s * VIDEO_FPS)] = True
    return silent


def neutral_faces(
    done: Tracked, heads: dict[TalkingClip, Similarity], frames_per_clip: int = 3
) -> dict[str, np.ndarray]:
    """Neutral face with closed mouth of each speaker: float32 (478, 3) mm.

    The median over the frames with the smallest lip gaps in the silences of the training clips.
    """
    templates = {}
    upper, lower = LIPS_INNER[15], LIPS_INNER[5]
    for speaker, training in _speakers(done):
        still: list[np.ndarray] = []
        gaps: list[float] = []
        for clip in training:
            with np.load(done[clip]) as arrays:
                vertices, valid = move(arrays["vertices"], heads[clip]), arrays["video_valid"]
            quiet = valid & silent_frames(clip, len(valid))
            chosen = vertices[quiet if quiet.any() else valid]
            gap = np.linalg.norm(chosen[:, upper] - chosen[:, lower], axis=-1)
            for index in np.argsort(gap)[:frames_per_clip]:
                still.append(chosen[index])
                gaps.append(float(gap[index]))
        closed = np.array(gaps) <= np.median(gaps)
        templates[speaker] = np.median(np.stack(still)[closed], axis=0).astype(np.float32)
    return templates
