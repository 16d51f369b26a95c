"""Speed of the differentiable mouth renderer beside the drawer, and how far their pictures differ.

    python benchmarks/renderer_speed.py

Writes ``benchmarks/results/renderer_speed.json`` and, from it, ``renderer_speed.md``. What talks is
the procedural head; ``--prepared runs/grid/prepared`` adds the faces of a prepared corpus.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import numpy as np  # noqa: E402
import torch  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.data.manifest import decode_vertices, load_prepared  # noqa: E402
from avsr.files import write_atomically, write_json  # noqa: E402
from avsr.models.recognizer import Recognizer, RecognizerConfig  # noqa: E402
from avsr.training.command import available_cores  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing.clock import Row, Work, as_json, measure, page  # noqa: E402
from learn2talk.articulation import CONTROLS, animate_head  # noqa: E402
from learn2talk.data.motion import load_templates  # noqa: E402
from learn2talk.drawing import render_mouth_crops  # noqa: E402
from learn2talk.head import build_head  # noqa: E402
from learn2talk.models.lip_reader import LipReadNet  # noqa: E402
from learn2talk.models.renderer import MouthRenderer  # noqa: E402
from learn2talk.schema import FaceTemplate  # noqa: E402

DRAWER = "drawer, no gradients, 96x96"
FINE_SAMPLES = 8  # in each direction of a pixel: what both pictures are held against
COMPARED_FRAMES = 12


def main(
    frames: int = 75,
    calls: int = 5,
    supersampling: tuple[int, ...] = (1, 2),
    prepared: Path | None = None,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure the renderer's speed on one thread and on all cores.

    Args:
        frames: length of the motion that is drawn in one call.
        calls: timed calls of each function.
        supersampling: pixels drawn per pixel in each direction.
        prepared: prepared corpus whose faces are drawn too.
        out: folder of renderer_speed.json and renderer_speed.md.
    """
    load, threads_before = os.getloadavg()[0], torch.get_num_threads()
    motions = {"procedural head": talking_head(frames)}
    left_out = {}
    if prepared is None:
        left_out["faces of a corpus"] = "no --prepared was given"
    else:
        template, vertices = corpus_face(prepared, frames)
        motions[f"faces of {template.topology}"] = template, vertices
    threads = sorted({1, available_cores()})
    rows: list[Row] = []
    facts: dict[str, str] = {"lip reader": "random weights, default sizes of the recogniser"}
    try:
        for name, (template, vertices) in motions.items():
            print(f"== {name}", flush=True)
            rows += speed(name, template, vertices, calls, supersampling, threads)
            facts |= differences(name, template, vertices, supersampling)
    finally:
        torch.set_num_threads(threads_before)
    report = scrubbed(
        {
            "schema": "benchmarks.renderer_speed",
            "title": "Speed of the differentiable mouth renderer",
            "machine": provenance(),
            "load": load,
            "weights": facts,
            "rows": as_json(rows),
            "left_out": left_out,
        }
    )
    write_json(out / "renderer_speed.json", report)
    with write_atomically(out / "renderer_speed.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def talking_head(frames: int) -> tuple[FaceTemplate, np.ndarray]:
    """The procedural head opening, spreading and rounding its mouth; vertices (T, V, 3) mm."""
    time = np.arange(frames)
    curves = np.zeros((frames, len(CONTROLS)), dtype=np.float32)
    for control, period in (("jaw", 7.0), ("spread", 11.0), ("round", 17.0)):
        curves[:, CONTROLS.index(control)] = 0.5 - 0.5 * np.cos(2 * np.pi * time / period)
    head = build_head()
    return head.template, animate_head(head, curves)


def corpus_face(prepared: Path, frames: int) -> tuple[FaceTemplate, np.ndarray]:
    """Template and motion of a corpus's first validation clip, repeated to ``frames``."""
    row = load_prepared(prepared, "valid")[0]
    vertices = decode_vertices(row["vertices"])
    repeated = vertices[np.arange(frames) % len(vertices)]
    return load_templates(prepared)[row["speaker_id"]], repeated


def speed(
    name: str,
    template: FaceTemplate,
    vertices: np.ndarray,
    calls: int,
    supersampling: tuple[int, ...],
    threads: list[int],
) -> list[Row]:
    """Rows of one face: the drawer, and the renderer forward and with gradients."""
    frames = len(vertices)
    motion = torch.from_numpy(vertices)[None]
    torch.manual_seed(0)
    reader = LipReadNet(Recognizer(RecognizerConfig(vocabulary_size=40, streams=("crops",))))
    present = torch.ones(1, frames, dtype=torch.bool)

    def on(count: int, call: Callable[[], Any]) -> Work:
        def run() -> None:
            torch.set_num_threads(count)
            call()

        return Work(run, frames, "frames", DRAWER)

    def forward(renderer: MouthRenderer) -> None:
        with torch.no_grad():
            renderer(motion)

    def both(renderer: MouthRenderer) -> None:
        moved = motion.clone().requires_grad_()
        renderer(moved).sum().backward()

    def read(renderer: MouthRenderer) -> None:
        moved = motion.clone().requires_grad_()
        reader(renderer(moved), present).square().sum().backward()

    work = {DRAWER: Work(lambda: render_mouth_crops(vertices, template), frames, "frames")}
    for samples in supersampling:
        renderer = MouthRenderer(template, supersampling=samples)
        for count in threads:
            where = f"{samples}x{samples} samples, {count} thread{'s' if count > 1 else ''}"
            for what, call in (
                ("forward", forward),
                ("forward and backward", both),
                ("with the lip reader, forward and backward", read),
            ):
                work[f"{what}, {where}"] = on(count, partial(call, renderer))
    return measure(f"Mouths 88x88, {name}", work, calls)


def differences(
    name: str, template: FaceTemplate, vertices: np.ndarray, supersampling: tuple[int, ...]
) -> dict[str, str]:
    """How far pictures lie from the drawer's with many samples a pixel, in grey levels of 255."""
    some = vertices[np.linspace(0, len(vertices) - 1, COMPARED_FRAMES).round().astype(int)]
    margin = slice(4, 92)  # the renderer shows the middle of the drawer's crop
    fine = render_mouth_crops(some, template, supersampling=FINE_SAMPLES)[:, margin, margin]
    pictures = {"drawer": render_mouth_crops(some, template)[:, margin, margin]}
    for samples in supersampling:
        with torch.no_grad():
            drawn = MouthRenderer(template, supersampling=samples)(torch.from_numpy(some)[None])
        pictures[f"renderer, {samples}x{samples} samples"] = 255.0 * drawn[0].numpy()
    return {
        f"{name}, {what}": f"{np.abs(picture - fine.astype(np.float64)).mean():.2f} grey levels "
        f"of 255 from {FINE_SAMPLES}x{FINE_SAMPLES} samples, mean"
        for what, picture in pictures.items()
    }


if __name__ == "__main__":
    run_command(main)
