"""Pictures of an ablation: the trade-off, the calibration of the experts, faces side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsr.data.manifest import load_prepared
from avsr.files import write_atomically
from learn2talk.animate import displacement_of
from learn2talk.data.motion import MotionClips
from learn2talk.evaluate.faces import mean_displacement
from learn2talk.files import load_student
from learn2talk.render import render_frames

SHOWN_FRAMES = 9
TILE = 200  # pixels


def plot_trade_off(path: Path, test: Mapping[str, Mapping[str, Any]]) -> Path:
    """LVE against LSE-D, VER and closure recall, a row a corpus, with 95 % intervals."""
    figure, axes = _axes(len(test), 3)
    pairs = (("lse_d", "LSE-D"), ("ver", "VER"), ("closure_recall", "closure recall"))
    for row, (corpus, found) in zip(axes, test.items(), strict=True):
        names = [*found["students"], "truth"]
        for axis, (measure, words) in zip(row, pairs, strict=True):
            for place, name in enumerate(names):
                x, y = found["systems"][name]["lve_mm2"], found["systems"][name].get(measure)
                if y is None or y["value"] is None:
                    continue
                axis.errorbar(
                    x["value"],
                    y["value"],
                    xerr=[[x["value"] - x["low"]], [x["high"] - x["value"]]],
                    yerr=[[y["value"] - y["low"]], [y["high"] - y["value"]]],
                    marker="osD^vPX*"[place % 8],
                    color=f"C{place % 10}",
                    elinewidth=0.6,
                    label=name.replace("_", " "),
                )
            axis.set(xlabel="LVE (mm²), lower is better", ylabel=words, title=f"{corpus}: {words}")
            axis.grid(alpha=0.3)
        row[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _saved(figure, path)


def plot_calibration(path: Path, extras: Mapping[str, Mapping[str, Any]]) -> Path:
    """Median shift that each expert finds for each known one, a panel a corpus."""
    figure, axes = _axes(1, len(extras))
    for axis, (corpus, found) in zip(axes[0], extras.items(), strict=True):
        for role, marker in (("loss", "o"), ("judge", "x")):
            rows = found[f"calibration_{role}"]["offsets"]
            known = [row["known_frames"] for row in rows]
            axis.plot(known, [row["median_frames"] for row in rows], marker, label=role, alpha=0.7)
        axis.axline((0, 0), slope=1, color="grey", linewidth=0.8)
        axis.set(
            title=f"{corpus}: unseen clips",
            xlabel="known shift of the sound (frames, positive = late)",
            ylabel="median shift found (frames)",
        )
        axis.legend()
        axis.grid(alpha=0.3)
    return _saved(figure, path)


def contact_sheet(path: Path, run: Path, corpus: str, balanced: str) -> Path:
    """Truth, students and controls at the same frames of the split's middle clip.

    All on one face, and no picture of the film: a sheet may be published where the film may not.
    The clip is in the middle of the test split and the frames at equal steps through its words: a
    fixed rule, not a choice.
    """
    clips = MotionClips(run / corpus, "test", waveforms=True)
    clip = clips.clips[len(clips) // 2]
    stored = load_prepared(run / corpus, "test")
    row = stored[stored["utterance_id"].index(clip.utterance_id)]
    times = clip.words or (("", 0.0, clip.num_frames / 25),)
    steps = np.linspace(25 * times[0][1], 25 * times[-1][2] - 1, SHOWN_FRAMES)
    frames = steps.round().astype(int).clip(0, clip.num_frames - 1)
    students = {
        name: load_student(run / "students" / name)
        for name in dict.fromkeys((balanced, "no_lip_reading", "vertices", "autoregressive"))
    }
    face = next(iter(students.values())).template
    mean = mean_displacement(run / corpus, clips.animated_ids)
    rows: dict[str, NDArray[Any]] = {
        "truth": clip.displacement,
        **{name: displacement_of(student, clip.sound) for name, student in students.items()},
        "mean face": np.repeat(mean[None], clip.num_frames, axis=0),
    }
    figure, axes = _axes(len(rows), SHOWN_FRAMES, tile=1.5)
    for line, (name, moved) in zip(axes, rows.items(), strict=True):
        vertices = np.repeat(face.vertices[None], SHOWN_FRAMES, axis=0)
        vertices[:, clips.animated_ids] += moved[frames]
        pictures = [_lower(one) for one in render_frames(vertices, face, size=2 * TILE)]
        for axis, picture, frame in zip(line, pictures, frames, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
            if line is axes[0]:
                said = [w for w, start, end in times if start <= (frame + 0.5) / 25 < end]
                axis.set_title(f"{frame / 25:.2f} s\n{said[0] if said else ''}", fontsize=8)
        line[0].set_ylabel(name.replace("_", " "), fontsize=8)
    figure.suptitle(f"{clip.utterance_id}: {row['text']}", fontsize=9)
    return _saved(figure, path)


def _lower(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The lower middle of a picture of a face."""
    height, width = picture.shape[:2]
    return picture[height * 2 // 5 : height * 9 // 10, width // 4 : width * 3 // 4]


def _axes(rows: int, columns: int, tile: float = 4.2) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # No global backend, no window.
    figure = Figure(figsize=(tile * columns, tile * 0.85 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _saved(figure: Any, path: Path) -> Path:
    with write_atomically(path) as temporary, open(temporary, "wb") as stream:
        figure.savefig(stream, format="png", dpi=110)
    return path
