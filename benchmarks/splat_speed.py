"""Speed of drawing Gaussian splats, with and without gradients, beside the slow reference.

    python benchmarks/splat_speed.py
    python benchmarks/splat_speed.py --avatar head.ply
    python benchmarks/splat_speed.py --device cuda

Writes ``benchmarks/results/splat_speed.json`` and, from it, ``splat_speed.md``. What is drawn is a
head of splats: an avatar where one is given, else flat splats strewn over the procedural head.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a script sees its own folder; its modules are named from the root

import numpy as np  # noqa: E402
import torch  # noqa: E402

from avsr.command_line import run_command  # noqa: E402
from avsr.files import write_atomically, write_json  # noqa: E402
from avsr.training.command import available_cores  # noqa: E402
from avsr.training.run_folder import provenance  # noqa: E402
from benchmarks.published.paths import scrubbed  # noqa: E402
from benchmarks.timing.clock import Row, Work, as_json, measure, page  # noqa: E402
from learn2talk.avatar.avatar_files import load_avatar  # noqa: E402
from learn2talk.avatar.binding import pose_splats, quaternions_of, triangle_frames  # noqa: E402
from learn2talk.avatar.camera_paths import front_camera  # noqa: E402
from learn2talk.avatar.cameras import PinholeCamera  # noqa: E402
from learn2talk.avatar.projection import project_splats  # noqa: E402
from learn2talk.avatar.rasterizer import Drawing, render_splats  # noqa: E402
from learn2talk.avatar.reference_rasterizer import draw_reference  # noqa: E402
from learn2talk.avatar.splats import Splats  # noqa: E402
from learn2talk.head import build_head  # noqa: E402
from learn2talk.schema import FaceTemplate  # noqa: E402

SCENES = ((256, 256, 20_000), (360, 288, 20_000), (512, 512, 100_000))  # width, height, splats
REFERENCE_SCENE = (64, 64, 2_000)  # the reference holds splats x pixels numbers


@dataclass(frozen=True)
class Scene:
    """Splats before a camera, and what to call them."""

    name: str
    splats: Splats
    camera: PinholeCamera


def main(
    avatar: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    calls: int = 9,
    scenes: tuple[tuple[int, int, int], ...] = SCENES,
    reference_scene: tuple[int, int, int] = REFERENCE_SCENE,
    out: Path = ROOT / "benchmarks" / "results",
) -> None:
    """Measure how fast splats are drawn.

    Args:
        avatar: file of an avatar, drawn besides the made-up heads of splats.
        device: cpu for our rasteriser on one thread and on all cores, cuda for gsplat.
        calls: timed calls of each function.
        scenes: width, height and number of splats of each made-up head.
        reference_scene: the same of the one that the slow reference draws too.
        out: folder of splat_speed.json and splat_speed.md; with cuda, of splat_speed_cuda.*.
    """
    load, threads_before = os.getloadavg()[0], torch.get_num_threads()
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no CUDA device; leave it out to measure ours")
    face = build_head().template
    drawn = [made_up(face, *size) for size in scenes]
    left_out = {}
    if avatar is None:
        left_out["an avatar"] = "no --avatar was given"
    else:
        drawn.append(of_avatar(avatar))
    rows: list[Row] = []
    facts = {"threads": "of render_splats (num_threads); torch's own small steps run on one"}
    torch.set_num_threads(1)
    try:
        for scene in drawn:
            print(f"== {scene.name}", flush=True)
            rows += speed(scene, device, calls)
            facts[scene.name] = description(scene)
        if device == "cpu":
            rows += beside_the_reference(made_up(face, *reference_scene), calls)
    finally:
        torch.set_num_threads(threads_before)
    if device == "cuda":
        facts["device"] = torch.cuda.get_device_name()
    report = scrubbed(
        {
            "schema": "benchmarks.splat_speed",
            "title": "Speed of drawing splats",
            "machine": provenance(),
            "load": load,
            "weights": facts,
            "rows": as_json(rows),
            "left_out": left_out,
        }
    )
    stem = "splat_speed" if device == "cpu" else f"splat_speed_{device}"
    write_json(out / f"{stem}.json", report)
    with write_atomically(out / f"{stem}.md") as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    print(page(report))


def made_up(face: FaceTemplate, width: int, height: int, count: int) -> Scene:
    """Flat splats strewn evenly over a mesh, so large that they cover it, all of degree 3."""
    generator = torch.Generator().manual_seed(0)
    vertices = torch.from_numpy(face.vertices)
    triangles = torch.from_numpy(face.triangles.astype(np.int64))
    a, b, c = vertices[triangles].unbind(1)
    areas = torch.linalg.cross(b - a, c - a).norm(dim=1) / 2
    ids = torch.multinomial(areas, count, replacement=True, generator=generator)
    u, v = torch.rand(2, count, 1, generator=generator)
    u, v = torch.where(u + v > 1, 1 - u, u), torch.where(u + v > 1, 1 - v, v)
    apart = float((areas.sum() / count).sqrt())
    scales = apart * torch.tensor([0.7, 0.15, 0.7])  # the triangle's normal is the second axis
    noise = torch.randn(count, 3, generator=generator)
    splats = Splats(
        positions=a[ids] + u * (b - a)[ids] + v * (c - a)[ids],
        log_scales=scales.log() + 0.3 * noise,
        rotations=quaternions_of(triangle_frames(vertices, triangles).rotation)[ids],
        opacity_logits=1.5 + torch.randn(count, generator=generator),
        sh=0.1 * torch.randn(count, 16, 3, generator=generator),
    )
    name = f"{width}x{height}, {count} splats on the procedural head"
    return Scene(name, splats, front_camera(face, width, height))


def of_avatar(path: Path, width: int = 256, height: int = 256) -> Scene:
    """The avatar at rest, from the front."""
    avatar = load_avatar(path)
    face = avatar.template
    triangles = torch.from_numpy(face.triangles.astype(np.int64))
    splats = pose_splats(avatar.splats, torch.from_numpy(face.vertices), triangles)
    name = f"{width}x{height}, {len(splats)} splats of an avatar"
    return Scene(name, splats, front_camera(face, width, height))


def description(scene: Scene) -> str:
    """What makes a scene slow or fast to draw."""
    seen = project_splats(scene.splats, scene.camera)
    alpha = render_splats(scene.splats, scene.camera).alpha
    width, height = (2 * seen.extents.mean(dim=0)).tolist()
    return (
        f"{len(seen)} splats in the picture, of degree {scene.splats.sh_degree}; their boxes are "
        f"{width:.1f} x {height:.1f} pixels in the mean; {100 * float(alpha.mean()):.0f} % covered"
    )


def speed(scene: Scene, device: str, calls: int) -> list[Row]:
    """Rows of one scene: forward, and forward with the gradients of everything."""
    moved = scene.splats.map(lambda values: values.to(device))
    learnt = moved.map(lambda values: values.clone().requires_grad_())

    def forward(threads: int) -> None:
        with torch.no_grad():
            render_splats(moved, scene.camera, num_threads=threads)

    def both(threads: int) -> None:
        gradients_of(render_splats(learnt, scene.camera, num_threads=threads), learnt)

    work = {}
    for threads in sorted({1, available_cores()}) if device == "cpu" else [1]:
        where = f"{threads} thread{'s' if threads > 1 else ''}" if device == "cpu" else "gsplat"
        work[f"forward, {where}"] = on(device, partial(forward, threads))
        work[f"forward and backward, {where}"] = on(device, partial(both, threads))
    return measure(scene.name, work, calls)


def on(device: str, call: Callable[[], Any], against: str | None = None) -> Work:
    """One picture a call, waited for where the device runs behind."""

    def run() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    return Work(run, 1, "frames", against)


def gradients_of(drawing: Drawing, splats: Splats) -> None:
    """Gradients of a made-up loss, for every number of the splats."""
    loss = drawing.colour.square().sum() + drawing.alpha.sum()
    parts = (splats.positions, splats.log_scales, splats.rotations, splats.opacity_logits)
    torch.autograd.grad(loss, (*parts, splats.sh))


def beside_the_reference(scene: Scene, calls: int) -> list[Row]:
    """Ours and the slow reference on a scene that the latter can hold, one thread."""
    learnt = scene.splats.map(lambda values: values.clone().requires_grad_())

    def slowly(splats: Splats) -> Drawing:
        projected = project_splats(splats, scene.camera)
        colour, through = draw_reference(projected, scene.camera.width, scene.camera.height)
        return Drawing(colour, 1.0 - through)

    def forward(draw: Callable[[Splats], Drawing]) -> None:
        with torch.no_grad():
            draw(scene.splats)

    def both(draw: Callable[[Splats], Drawing]) -> None:
        gradients_of(draw(learnt), learnt)

    ours = partial(render_splats, camera=scene.camera)
    work = {}
    for what, call in (("forward", forward), ("forward and backward", both)):
        fast = f"{what}, ours"
        work[fast] = on("cpu", partial(call, ours))
        work[f"{what}, reference"] = on("cpu", partial(call, slowly), fast)
    return measure(f"{scene.name}, 1 thread", work, calls)


if __name__ == "__main__":
    run_command(main)
