"""Frames a second of the viewer's page in a Chromium whose WebGL runs on the processor.

    python benchmarks/viewer_fps.py

Writes ``benchmarks/results/viewer_fps.json`` and, from it, ``viewer_fps.md``. What is shown is the
procedural head, talking, as a mesh and as splats scattered over it; the camera turns, and every
picture shows another frame, so that every picture is sorted and drawn anew.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import numpy as np  # noqa: E402
import torch  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.files import write_atomically, write_json  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing.clock import Row, as_json, page  # noqa: E402
from learn2talk.articulation import CONTROLS, animate_head  # noqa: E402
from learn2talk.avatar.avatar_files import Avatar, save_avatar  # noqa: E402
from learn2talk.avatar.binding import bind_to_nearest  # noqa: E402
from learn2talk.avatar.splats import SH_C0, Splats  # noqa: E402
from learn2talk.drawing import Palette, vertex_colours  # noqa: E402
from learn2talk.files import save_motion  # noqa: E402
from learn2talk.head import build_head  # noqa: E402
from learn2talk.schema import FaceTemplate, Motion  # noqa: E402

MOTION, AIM_FPS = "motion.npz", 30.0
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
IN_FULL = "splats painted by the page, in full"
PAINTED = "splats painted by the page, coarser while they move"
# Name of a row -> what window.viewer is asked before, and how it measures.
WAYS = {
    "mesh alone": ("viewer.paintSplats(true); viewer.show({splats: false})", "{}"),
    PAINTED: ("viewer.paintSplats(true); viewer.show({splats: true})", "{}"),
    IN_FULL: ("viewer.paintSplats(true)", "{full: true}"),
    "splats drawn by WebGL": ("viewer.paintSplats(false)", "{}"),
}


def main(
    splats: tuple[int, ...] = (20_000,),
    degrees: tuple[int, ...] = (0, 3),
    width: int = 640,
    height: int = 480,
    seconds: float = 6.0,
    rounds: int = 3,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure how fast the page draws.

    Args:
        splats: numbers of splats. degrees: of their spherical harmonics.
        width, height: of the picture, pixels.
        seconds: of drawing in each round. rounds: of each way of drawing, in turns.
        out: folder of viewer_fps.json and viewer_fps.md.
    """
    load = os.getloadavg()[0]
    rows: list[Row] = []
    facts: dict[str, str] = {"picture": f"{width} x {height} pixels"}
    left_out: dict[str, str] = {}
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        left_out["all"] = "no chromium on PATH; run scripts/install_browser.sh"
    else:
        with tempfile.TemporaryDirectory() as name:
            for count in splats:
                for degree in degrees:
                    group = f"{count} splats of degree {degree}"
                    print(f"== {group}", flush=True)
                    files = made_files(Path(name), count, degree)
                    with shown(files, chromium, width, height) as browser_page:
                        facts["WebGL"] = renderer_name(browser_page)
                        times, work_s, scale = measured(browser_page, seconds, rounds)
                    rows += [row_of(group, what, values) for what, values in times.items()]
                    facts[f"{group}, painted size while moving"] = f"{scale:.2f} of the picture's"
                    facts |= {
                        f"{group}, {what}, processor time of a picture in the whole browser": (
                            f"{1000 * work_s[what] / len(values):.0f} ms"
                        )
                        for what, values in times.items()
                    }
        facts["aim"] = aim_text(rows)
    report = scrubbed(
        {
            "schema": "benchmarks.viewer_fps",
            "title": "Frames a second of the viewer's page without a graphics card",
            "machine": provenance(),
            "load": load,
            "weights": facts,
            "rows": as_json(rows),
            "left_out": left_out,
        }
    )
    write_json(out / "viewer_fps.json", report)
    with write_atomically(out / "viewer_fps.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def made_files(folder: Path, count: int, degree: int) -> list[Path]:
    """An avatar of ``count`` splats and two seconds of motion, written to a folder."""
    head = build_head()
    time = np.arange(50)
    curves = np.zeros((len(time), len(CONTROLS)))
    for control, period in (("jaw", 7.0), ("spread", 11.0), ("round", 17.0)):
        curves[:, CONTROLS.index(control)] = 0.5 - 0.5 * np.cos(2 * np.pi * time / period)
    motion = Motion(animate_head(head, curves), 25.0, head.template)
    save_motion(folder / MOTION, motion, {})
    avatar = folder / f"avatar_{count}_{degree}.ply"
    save_avatar(avatar, scattered(head.template, count, degree))
    return [avatar, folder / MOTION]


def scattered(template: FaceTemplate, count: int, degree: int) -> Avatar:
    """Flat splats evenly over the mesh, as large as they must be to cover it, in its colours."""
    generator = np.random.default_rng(0)
    corners = template.vertices[template.triangles].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1) / 2.0
    chosen = generator.choice(len(corners), count, p=area / area.sum())
    shares = generator.dirichlet((1.0, 1.0, 1.0), count)[:, :, None]
    colours = vertex_colours(template, Palette())[template.triangles[chosen]] / 255.0
    normal = normals[chosen] / (2.0 * area[chosen, None])
    # The turn that takes the z axis to the normal, w x y z.
    turns = np.stack([1.0 + normal[:, 2], -normal[:, 1], normal[:, 0], 0.0 * area[chosen]], axis=1)
    turns[np.linalg.norm(turns, axis=1) < 1e-6] = (0.0, 1.0, 0.0, 0.0)
    size = 0.8 * float(np.sqrt(area.sum() / count))
    harmonics = generator.normal(0.0, 0.02, (count, (degree + 1) ** 2, 3))
    harmonics[:, 0] = ((colours * shares).sum(axis=1) - 0.5) / SH_C0
    splats = Splats(
        positions=torch.from_numpy((corners[chosen] * shares).sum(axis=1)).float(),
        log_scales=torch.tensor([[size, size, 0.2 * size]]).log().repeat(count, 1),
        rotations=torch.from_numpy(turns).float(),
        opacity_logits=torch.full((count,), 2.0),
        sh=torch.from_numpy(harmonics).float(),
    )
    triangles = torch.from_numpy(template.triangles.astype(np.int64))
    bound = bind_to_nearest(splats, torch.from_numpy(template.vertices), triangles)
    return Avatar(bound, template)


@contextmanager
def shown(files: Sequence[Path], chromium: str, width: int, height: int) -> Iterator[Any]:
    """A page of the viewer whose picture, of the first file alone, has the size asked for."""
    from playwright.sync_api import sync_playwright

    command = "from learn2talk.cli import main; main()"
    server = subprocess.Popen(
        [sys.executable, "-c", command, "view", *map(str, files), "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        assert server.stdout is not None
        address = next(line for line in server.stdout if line.startswith("http://")).split()[0]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
            opened = browser.new_page(viewport={"width": width, "height": height + 200})
            opened.goto(address)
            while not opened.evaluate("Boolean(window.viewer && window.viewer.ready)"):
                opened.wait_for_timeout(50)
            opened.evaluate("viewer.solo(0)")
            fit_stage(opened, width, height)
            yield opened
            browser.close()
    finally:
        server.terminate()
        server.communicate(timeout=10)


def fit_stage(opened: Any, width: int, height: int) -> None:
    """Make the window as high as it must be for a picture of the size asked for."""
    window = height + 200
    for _ in range(5):
        opened.set_viewport_size({"width": width, "height": window})
        opened.wait_for_timeout(200)
        found = opened.evaluate("(({width, height}) => [width, height])(stage)")
        if found == [width, height]:
            return
        window += height - found[1]
    raise ValueError(f"the picture has {found} pixels, not {[width, height]}; give another size")


def renderer_name(opened: Any) -> str:
    """What draws WebGL in this browser."""
    ask = """(() => {
      const gl = document.createElement("canvas").getContext("webgl2");
      return gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info").UNMASKED_RENDERER_WEBGL);
    })()"""
    return str(opened.evaluate(ask))


def measured(
    opened: Any, seconds: float, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float], float]:
    """Times between pictures in seconds and the processor's seconds for all of them, by way of
    drawing; the size of what is painted while it moves, as a share of the picture's.

    Times grow with whatever else the machine does; the processor's do so much less.
    """
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    work_s = dict.fromkeys(WAYS, 0.0)
    scale = 1.0
    for turn in range(rounds + 1):
        for name, (before, how) in WAYS.items():
            opened.evaluate(f"void ({before.replace(';', ',')})")
            # The first round lets the browser compile what it will run.
            length = seconds if turn else min(seconds, 2.0)
            before_s = browser_seconds()
            found = opened.evaluate(f"viewer.measure({length}, {how})")
            if turn:
                work_s[name] += browser_seconds() - before_s
                times[name] += [value / 1000.0 for value in found]
            if name == PAINTED:
                scale = float(opened.evaluate("viewer.state().results[0].splatScale"))
    return times, work_s, scale


def browser_seconds() -> float:
    """Processor time so far of the browser's processes that this process started, as Linux says."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (folder / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue  # it ended meanwhile
        fields = rest.split()
        parents[int(folder.name)] = int(fields[1])
        if name.startswith("chrom"):
            ticks[int(folder.name)] = int(fields[11]) + int(fields[12])
    total = 0
    for process, count in ticks.items():
        above = process
        while above in parents and above != os.getpid():
            above = parents[above]
        total += count if above == os.getpid() else 0
    return total / os.sysconf("SC_CLK_TCK")


def row_of(group: str, what: str, seconds: Sequence[float]) -> Row:
    """Median, fastest and slowest of the times between pictures."""
    against = None if what == PAINTED else PAINTED
    median, fastest, slowest = statistics.median(seconds), min(seconds), max(seconds)
    return Row(group, what, median, fastest, slowest, len(seconds), 1, "frames", against)


def aim_text(rows: Sequence[Row]) -> str:
    """Whether the aim was met as the page draws by itself, and by its painter in full."""
    said = []
    for row in rows:
        if row.what in (PAINTED, IN_FULL):
            rate = 1.0 / row.seconds
            short = f"missed by {AIM_FPS - rate:.1f}"
            # A browser shows pictures at multiples of its own 1/60 s: 29.9 is two of them.
            met = "met" if rate > AIM_FPS - 0.2 else short
            said.append(f"{row.group}, {row.what}: {rate:.1f}, {met}")
    return f"{AIM_FPS:.0f} frames a second; " + "; ".join(said)


if __name__ == "__main__":
    run_command(main)
