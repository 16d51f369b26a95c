"""A face tracker and films for tests without MediaPipe, and small copies of corpora made of them.

Run as a program it prepares such a copy: corpus root out [seconds a film [films a part]].
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avsr.corpora import film_pool, talking_faces
from avsr.corpora.clips import make_parts
from avsr.files import write_video
from avsr.tracking import HEAD, LIPS_INNER, LIPS_OUTER, FaceTrack

SENTENCES = (
    "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG",
    "PACK MY BOX WITH FIVE DOZEN LIQUOR JUGS",
    "HOW VEXINGLY QUICK DAFT ZEBRAS JUMP",
    "WE PROMPTLY JUDGED ANTIQUE IVORY BUCKLES",
)


class StandInTracker:
    """Finds the same synthetic face in every frame that is not black; twice in none of them."""

    calls = 0
    seconds = 0.0  # what a film takes at least

    def __init__(self, _: object = None) -> None:
        points = np.random.default_rng(0).uniform(-40, 40, (478, 3))
        points[list(HEAD.outer_eyes)] = [[-43, 0, 0], [43, 0, 0]]
        points[list(HEAD.pupils)] = [[-31.5, 0, 0], [31.5, 0, 0]]
        points[list(HEAD.vertical)] = [[0, 60, 0], [0, -120, 0]]
        angle = np.linspace(np.pi, 3 * np.pi, 20, endpoint=False)
        ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
        points[list(LIPS_OUTER)] = ring * [26, 10, 0] + [0, -75, 20]
        points[list(LIPS_INNER)] = ring * [22, 2, 0] + [0, -75, 20]
        self.face = points * [0.4, -0.4, -0.4] + [80, 50, 0]

    def track(self, frames: np.ndarray) -> FaceTrack:
        StandInTracker.calls += 1
        time.sleep(self.seconds)
        light = frames.mean((1, 2, 3))
        face = self.face + light.mean() / 1000  # films differ, so that a mix-up is seen
        landmarks = np.where((light > 40)[:, None, None], face, np.nan).astype(np.float32)
        return FaceTrack(landmarks, light > 40, int((light > 40).any()), "")

    def close(self) -> None:
        pass


def install(patch: Any) -> None:
    """Put the stand-in where MediaPipe would be; ``patch`` is setattr or pytest's."""
    patch(film_pool, "FaceTracker", StandInTracker)
    patch(talking_faces, "check_landmarker", lambda path: None)
    patch(talking_faces, "face_triangles", lambda: np.array([[0, 37, 267]], np.int32))


def pictures(levels: Iterable[int]) -> list[np.ndarray]:
    return [np.full((120, 160, 3), level, np.uint8) for level in levels]


def film(
    path: Path, levels: Iterable[int] = (128,) * 25, audio: bool = True, period: float = 9.0
) -> Path:
    frames = pictures(levels)
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.1 * np.sin(np.arange(640 * len(frames)) / period).astype(np.float32)
    write_video(path, frames, 25, tone if audio else None)
    return path


def labelled_film(path: Path, text: str, level: int, with_words: bool) -> None:
    """A clip with half a second a word and its LRS label file."""
    words = text.split()
    frames = round(12.5 * len(words)) + 5
    # No two clips sound alike: a recording must not serve two splits of the noise.
    film(path, [level + frame % 7 for frame in range(frames)], period=7 + level / 40)
    lines = [f"Text:  {text}", "Conf:  7", ""]
    if with_words:
        lines.append("WORD START END ASDSCORE")
        lines += [
            f"{word} {0.1 + 0.5 * k:.2f} {0.45 + 0.5 * k:.2f} 8.1" for k, word in enumerate(words)
        ]
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def lrs3_copy(root: Path, talks: int = 4, clips: int = 2) -> Path:
    """A stand-in with LRS3's layout: talks with pretrain and trainval clips, and a test talk."""
    for number in range(talks):
        for clip in range(clips):
            text = SENTENCES[(number + clip) % len(SENTENCES)]
            name, level = f"talk{number}/{clip + 1:05d}.mp4", 100 + 10 * number + clip
            labelled_film(root / "trainval" / name, text, level, False)
        long = " ".join(SENTENCES[(number + k) % len(SENTENCES)] for k in range(2))
        labelled_film(root / f"pretrain/talk{number}/00050.mp4", long, 105 + 10 * number, True)
    for clip, text in enumerate(SENTENCES[:3]):
        labelled_film(root / f"test/other/{clip + 1:05d}.mp4", text, 90 + clip, False)
    return root


def lrs2_copy(root: Path, train: tuple[str, ...] = ("1", "2")) -> Path:
    """A stand-in with LRS2's layout and lists."""
    lists: dict[str, list[str]] = {}
    for subset, programmes in {"train": train, "val": ("3",), "test": ("4",)}.items():
        for programme in programmes:
            for clip in (1, 2):
                name = f"{programme}/{clip:05d}"
                text = SENTENCES[(int(programme) + clip) % len(SENTENCES)]
                level = 100 + 4 * int(programme) + clip
                labelled_film(root / f"main/{name}.mp4", text, level, False)
                lists.setdefault(subset, []).append(name + (" NF" if subset == "test" else ""))
    labelled_film(root / "pretrain/1/00007.mp4", " ".join(SENTENCES[:2]), 120, True)
    lists["pretrain"] = ["1/00007"]
    for subset, names in lists.items():
        (root / f"{subset}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return root


def main(arguments: Sequence[str]) -> None:
    corpus, root, out = arguments[:3]
    StandInTracker.seconds = float(arguments[3]) if len(arguments) > 3 else 0.0
    install(setattr)
    if len(arguments) > 4:
        smaller = partial(make_parts, at_least=int(arguments[4]))
        setattr(talking_faces, "make_parts", smaller)  # noqa: B010
    from avsr.corpora import lrs2, lrs3
    from avsr.corpora.lrs import LrsConfig

    module = {"lrs3": lrs3, "lrs2": lrs2}[corpus]
    lrs = LrsConfig(max_seconds=4.0, vocabulary_size=60, valid_share=0.2)
    options: dict[str, Any] = {"landmarker_model": "stand-in", "num_processes": 1, "lrs": lrs}
    module.prepare(root, out, is_subset=True, progress=False, **options)


if __name__ == "__main__":
    main(sys.argv[1:])
