"""What the page shows, put together from named files: results, truth, sound, words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learn2talk.files import load_motion
from learn2talk.schema import FaceTemplate, Motion
from learn2talk.viewer.results import (
    Result,
    described,
    driven,
    read_result,
    same_topology,
    with_regions,
)
from learn2talk.viewer.timeline import Timeline, read_timeline

SOUND_RATE_HZ = 32_000  # sibilants are heard to 16 kHz, and a minute is below 4 MB
MOST_RESULTS = 9  # the keys 1 to 9 choose one
ENDS_TOGETHER_S = 0.045  # a motion may end up to a frame of 25 fps beside its sound


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that a page shows.

    results: 1 to 9. truth: what they are compared with, and its file's name; None without. sound:
    float32 (S,) at SOUND_RATE_HZ, or None. sound_name: its file's name. timeline: words, phones and
    visemes, empty where none are known. notes: what a viewer should know, a line each.
    """

    results: tuple[Result, ...]
    truth: Motion | None = None
    truth_name: str = ""
    sound: NDArray[np.float32] | None = None
    sound_name: str = ""
    timeline: Timeline = Timeline()
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """To the longer end of sound and motions, seconds."""
        ends = [r.motion.duration_s for r in self.results if r.motion is not None and r.moves]
        if self.sound is not None:
            ends.append(len(self.sound) / SOUND_RATE_HZ)
        return max(ends, default=0.0)

    def compared(self, result: Result) -> bool:
        """Whether there is a truth to measure this result against."""
        return (
            self.truth is not None
            and result.motion is not None
            and same_topology(result.motion.template, self.truth.template)
        )


def load_scene(
    paths: Sequence[Path | str],
    *,
    audio: Path | str | None = None,
    truth: Path | str | None = None,
    words: Path | str | None = None,
) -> Scene:
    """Read everything that was named.

    Args:
        paths: 1 to 9 files, `.npz`, `.glb` or `.ply`. An avatar is moved by the first motion of its
            topology among them.
        audio: sound or video file with the speech.
        truth: motion (`.npz`) of the same topology to measure errors against.
        words: file for `learn2talk.viewer.timeline.read_timeline`.

    Raises:
        ValueError: a file that cannot be read, an avatar beside motions of other topologies only, a
            truth of another topology or frame rate than every result, or too many files.
    """
    if not 1 <= len(paths) <= MOST_RESULTS:
        raise ValueError(f"{len(paths)} files to show; give 1 to {MOST_RESULTS}")
    notes: list[str] = []
    results = _driven_avatars(_read_all([Path(path) for path in paths]), notes)
    real = None if truth is None else _read_truth(Path(truth))
    results = _all_with_regions(results, real)
    if real is not None and truth is not None:
        notes += _checked_truth(results, real, Path(truth).name)
    sound = None
    if audio is not None:
        from avsr.files import read_audio

        sound = np.clip(read_audio(audio, SOUND_RATE_HZ), -1.0, 1.0)
        notes += _length_notes(results, len(sound) / SOUND_RATE_HZ, Path(audio).name)
    return Scene(
        results=results,
        truth=real,
        truth_name="" if truth is None else Path(truth).name,
        sound=sound,
        sound_name="" if audio is None else Path(audio).name,
        timeline=Timeline() if words is None else read_timeline(words),
        notes=tuple(notes),
    )


def _read_all(paths: Sequence[Path]) -> tuple[Result, ...]:
    """Motions before avatars: splats without a mesh of their own take that of a motion."""
    found: dict[int, Result] = {}
    order = sorted(range(len(paths)), key=lambda i: paths[i].suffix.lower() == ".ply")
    mesh: FaceTemplate | None = None
    for place in order:
        found[place] = read_result(paths[place], mesh)
        motion = found[place].motion
        if mesh is None and motion is not None and found[place].kind == "motion":
            mesh = motion.template
    return tuple(found[place] for place in range(len(paths)))


def _driven_avatars(results: tuple[Result, ...], notes: list[str]) -> tuple[Result, ...]:
    motions = [r for r in results if r.kind == "motion" and r.motion is not None]
    out: list[Result] = []
    for result in results:
        if result.kind != "avatar" or result.motion is None or not motions:
            out.append(result)
            continue
        own = result.motion.template
        fitting = next(
            (m for m in motions if m.motion and same_topology(own, m.motion.template)), None
        )
        if fitting is None:
            other = motions[0]
            assert other.motion is not None
            raise ValueError(
                f"{result.name} is made on {described(own)}, but {other.name} is of "
                f"{described(other.motion.template)}; give a motion of the avatar's topology, or "
                "the avatar alone"
            )
        assert fitting.motion is not None
        notes.append(f"{result.name} is moved by {fitting.name}")
        out.append(driven(result, fitting.motion))
    return tuple(out)


def _read_truth(path: Path) -> Motion:
    motion, _ = load_motion(path)
    if not len(motion.vertices):
        raise ValueError(f"{path}: has no frame; give the motion that is true")
    return motion


def _all_with_regions(results: tuple[Result, ...], truth: Motion | None) -> tuple[Result, ...]:
    """A `.glb` names its topology and no regions: those of another file, or of the package."""
    from learn2talk.default_student import default_student
    from learn2talk.files import TEMPLATE, load_template

    if all(r.motion is None or r.motion.template.regions for r in results):
        return results
    shown = [r.motion for r in results if r.motion is not None]
    templates = [load_template(default_student() / TEMPLATE)]
    templates += [m.template for m in (*shown, *([] if truth is None else [truth]))]
    known = {template.topology: template for template in templates if template.regions}
    return tuple(with_regions(result, known) for result in results)


def _checked_truth(results: tuple[Result, ...], truth: Motion, name: str) -> list[str]:
    """Notes on what is compared; refuses a truth that fits no result, or another frame rate."""
    notes: list[str] = []
    fitting = 0
    for result in results:
        motion = result.motion
        if motion is None or not same_topology(motion.template, truth.template):
            what = "splats without a mesh" if motion is None else described(motion.template)
            notes.append(
                f"{result.name} is not compared: it is {what}, the truth {name} has "
                f"{described(truth.template)}"
            )
            continue
        fitting += 1
        if result.moves and abs(motion.fps - truth.fps) > 1e-3:
            raise ValueError(
                f"{result.name} has {motion.fps:g} frames a second, the truth {name} has "
                f"{truth.fps:g}; bring both to one rate (learn2talk.resampling)"
            )
        frames, real = len(motion.vertices), len(truth.vertices)
        if result.moves and frames != real:
            notes.append(
                f"{result.name} has {frames} frames, the truth {name} {real}: compared over the "
                f"first {min(frames, real)}"
            )
    if not fitting:
        raise ValueError(
            f"{name} has {described(truth.template)} and cannot be compared: {'; '.join(notes)}; "
            "give the truth of one of the results"
        )
    return notes


def _length_notes(results: tuple[Result, ...], sound_s: float, name: str) -> list[str]:
    return [
        f"{result.name} lasts {result.motion.duration_s:.2f} s, its sound {name} {sound_s:.2f} s: "
        + (
            "the last pose is held to the end of the sound"
            if result.motion.duration_s < sound_s
            else "the motion goes on after the sound"
        )
        for result in results
        if result.motion is not None
        and result.moves
        and abs(result.motion.duration_s - sound_s) > ENDS_TOGETHER_S
    ]
