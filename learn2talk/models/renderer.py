"""A differentiable picture of the mouth: vertices to the grey crops that a lip reader looks at.

The picture of :func:`learn2talk.drawing.render_mouth_crops`, with gradients. What a pixel sees is
decided outside the graph; its brightness, and where an outline runs between two pixels, is inside.
Pixels at an outline are mixed by the share of the way between their centres that the outline leaves
to each, so that lips have a gradient where they stand in front of the mouth's inside (antialiasing
as in Laine et al. 2020, "Modular primitives for high-performance differentiable rendering", section
3.6; found here by following the surface from pixel to pixel).

Axis letters: B batch, T frames, N = B T, V vertices, R drawn vertices, F triangles, H W image.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from avsr.units import MODEL_CROP_SIZE, MOUTH_CROP_SIZE
from learn2talk.drawing import (
    CROP_MOUTH_SHARE,
    Camera,
    DrawnSurface,
    Palette,
    drawn_surface,
    mouth_camera,
)
from learn2talk.mesh import triangle_neighbours
from learn2talk.models.visibility import find_visibility
from learn2talk.schema import FaceTemplate

REACH_MM = 25.0  # farther than speech moves a vertex: what lies outside never comes into the view
DEPTH_MM = 130.0  # what lies so far behind the lips at rest is the back of the head
GREY = (0.299, 0.587, 0.114)


class View(NamedTuple):
    """What a picture shows, for each frame: all float (N,)."""

    x: Tensor  # mm, of the picture's middle
    y: Tensor
    mm_per_picture: Tensor


class MouthRenderer(nn.Module):
    """Draws the mouth of one topology; orthographic, from the front, shaded like the drawer.

    Args:
        template: triangles, regions, and the face at rest, which says what may come into view.
        palette: colours by region and the light.
        size: height and width in pixels; the default is what a recogniser's encoder takes, the
            middle of the crops that corpora store, at their scale.
        supersampling: pixels drawn for each pixel in each direction; outlines are smooth with 1,
            but teeth are thinner than its pixels.

    Raises:
        ValueError: the template has no mouth (regions ``lips_outer`` and ``lips_inner``), or a
            number is below 1.
    """

    source: Tensor  # int64 (R,), the vertex of a face that each drawn vertex follows
    sink: Tensor  # float (R,), mm that it is pushed back
    triangles: Tensor  # int32 (F, 3) of drawn vertices
    neighbours: Tensor  # int32 (F, 3), the triangle beyond each edge, or -1
    colours: Tensor  # float (R, 3), 0-255
    gloss: Tensor  # float (R,)
    light: Tensor  # float (3,), unit vector
    background: Tensor  # float (), grey 0-255
    lip_ids: Tensor  # int64 (40,), the canonical lip points

    def __init__(
        self,
        template: FaceTemplate,
        *,
        palette: Palette = Palette(),  # noqa: B008 (frozen)
        size: int = MODEL_CROP_SIZE,
        supersampling: int = 2,
    ) -> None:
        super().__init__()
        if size < 1 or supersampling < 1:
            raise ValueError(
                f"size is {size} and supersampling {supersampling}; both must be at least 1"
            )
        rest = mouth_camera(template)
        self.camera = replace(rest, mm_per_picture=rest.mm_per_picture * size / MOUTH_CROP_SIZE)
        self.topology, self.num_vertices = template.topology, len(template.vertices)
        self.size, self.supersampling = size, supersampling
        surface = _in_reach(drawn_surface(template, palette), template, self.camera)
        light = np.asarray(palette.light, dtype=np.float64)
        light /= np.linalg.norm(light)
        grey = float(np.dot(palette.background, GREY))
        self._keep("source", surface.source.astype(np.int64))
        self._keep("sink", surface.sink)
        self._keep("triangles", surface.triangles)
        self._keep("neighbours", triangle_neighbours(surface.triangles))
        self._keep("colours", surface.colours)
        self._keep("gloss", surface.gloss)
        self._keep("light", light.astype(np.float32))
        self._keep("background", np.float32(grey))
        self._keep("lip_ids", template.lip_ids.astype(np.int64))

    def _keep(self, name: str, values: np.ndarray | np.float32) -> None:
        self.register_buffer(name, torch.as_tensor(values), persistent=False)

    def forward(self, vertices: Tensor, neutral: Tensor | None = None) -> Tensor:
        """Draw faces.

        Args:
            vertices: float (B, T, V, 3), mm, head-pose-free.
            neutral: float (B, V, 3), mm, each clip's face at rest, on whose mouth its pictures are
                centred and by whose mouth they are scaled; None takes the template's for all.

        Returns:
            float (B, T, size, size) in [0, 1], with gradients to ``vertices``.

        Raises:
            ValueError: a shape is wrong, or a vertex is not a number.
        """
        self._check(vertices, neutral)
        batch, length = vertices.shape[:2]
        if batch * length == 0:
            return vertices.new_zeros(batch, length, self.size, self.size)
        places = vertices.flatten(0, 1)[:, self.source]
        x, y = places[..., 0], places[..., 1]
        z = places[..., 2] - self.sink.to(places.dtype)
        grey = self._shaded(x, y, z)
        view = self._view(vertices, neutral)
        pixels = self.size * self.supersampling
        per_mm = (pixels / view.mm_per_picture)[:, None]
        screen_x = (x - view.x[:, None]) * per_mm + pixels / 2
        screen_y = pixels / 2 - (y - view.y[:, None]) * per_mm
        on_screen = torch.stack([screen_x.detach(), screen_y.detach(), z.detach()], dim=-1)
        seen, outlines = find_visibility(
            on_screen, self.triangles, self.neighbours, (pixels, pixels)
        )
        picture = self._filled(screen_x, screen_y, grey, seen)
        picture = self._outlined(picture, screen_x, screen_y, outlines) / 255.0
        if self.supersampling > 1:
            picture = _reduced(picture, self.supersampling)
        return picture.view(batch, length, self.size, self.size)

    def _check(self, vertices: Tensor, neutral: Tensor | None) -> None:
        wanted = (self.num_vertices, 3)
        if vertices.ndim != 4 or vertices.shape[2:] != wanted:
            raise ValueError(
                f"vertices have shape {tuple(vertices.shape)}, but the renderer's topology "
                f"{self.topology!r} has {self.num_vertices} vertices; give "
                f"(B, T, {self.num_vertices}, 3)"
            )
        if neutral is not None and neutral.shape != (len(vertices), *wanted):
            raise ValueError(
                f"neutral faces have shape {tuple(neutral.shape)}; give "
                f"({len(vertices)}, {self.num_vertices}, 3), one for each clip"
            )
        finite = torch.isfinite(vertices.detach()).flatten(2).all(2)
        if not bool(finite.all()):
            clip, frame = (~finite).nonzero()[0].tolist()
            raise ValueError(
                f"a vertex of clip {clip}, frame {frame} is not a number; nothing drawn"
            )

    def _view(self, vertices: Tensor, neutral: Tensor | None) -> View:
        batch, length = vertices.shape[:2]
        if neutral is None:
            camera = self.camera
            numbers = (*camera.centre, camera.mm_per_picture)
            parts = [vertices.new_full((batch * length,), number) for number in numbers]
        else:
            lips = neutral.to(vertices.dtype)[:, self.lip_ids]  # 20 outer points, then 20 inner
            width = (lips[:, 10] - lips[:, 0]).norm(dim=-1)
            shown = width / CROP_MOUTH_SHARE * self.size / MOUTH_CROP_SIZE
            middle_x = (lips[:, 0, 0] + lips[:, 10, 0]) / 2
            middle_y = (lips[:, 25, 1] + lips[:, 35, 1]) / 2
            parts = [part.repeat_interleave(length) for part in (middle_x, middle_y, shown)]
        return View(*parts)

    def _shaded(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Grey of each drawn vertex (N, R), 0-255: the light of :func:`rasterize.shade`."""
        from learn2talk.rasterize import AMBIENT, DIFFUSE, FILL, GLOSS_POWER, WRAP

        nx, ny, nz = self._normals(x, y, z)
        light = self.light.to(x.dtype)
        lambert = nx * light[0] + ny * light[1] + nz * light[2]
        lambert = ((lambert + WRAP) / (1.0 + WRAP)).clamp_min(0.0)
        brightness = AMBIENT + DIFFUSE * lambert + FILL * nz.clamp_min(0.0)
        half = light + light.new_tensor([0.0, 0.0, 1.0])
        half = half / half.norm().clamp_min(1e-6)
        shine = (nx * half[0] + ny * half[1] + nz * half[2]).clamp_min(0.0) ** GLOSS_POWER
        shine = shine * (255.0 * self.gloss.to(x.dtype))
        colours = self.colours.to(x.dtype)
        return sum(
            share * (colours[:, channel] * brightness + shine).clamp_max(255.0)
            for channel, share in enumerate(GREY)
        )

    def _normals(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit normals (N, R), the mean of the adjacent triangles' weighted by their area."""
        corners = self.triangles.long().T.contiguous()
        a, b, c = ([axis.index_select(1, ids) for axis in (x, y, z)] for ids in corners)
        ux, uy, uz = (q - p for p, q in zip(a, b, strict=True))
        vx, vy, vz = (q - p for p, q in zip(a, c, strict=True))
        faces = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        where = corners.flatten().expand(len(x), -1)
        sums = [torch.zeros_like(x).scatter_add(1, where, face.repeat(1, 3)) for face in faces]
        square = sums[0] ** 2 + sums[1] ** 2 + sums[2] ** 2
        flat = square < 1e-24  # of no triangle with an area
        length = square.where(~flat, torch.ones_like(square)).sqrt()
        nx, ny, nz = (part / length for part in sums)
        return nx, ny, nz.where(~flat, torch.ones_like(nz))

    def _filled(self, x: Tensor, y: Tensor, grey: Tensor, seen: Tensor) -> Tensor:
        """Grey (N, H, W) at the pixels' centres; it is linear over a triangle's picture."""
        a, b, c = self.triangles.long().T
        ax, ay, first = x[:, a], y[:, a], grey[:, a]
        ux, uy, up = x[:, b] - ax, y[:, b] - ay, grey[:, b] - first
        vx, vy, vp = x[:, c] - ax, y[:, c] - ay, grey[:, c] - first
        area = ux * vy - uy * vx
        facing = area < 0
        inverse = facing / area.where(facing, torch.ones_like(area))
        slope_x, slope_y = (up * vy - vp * uy) * inverse, (vp * ux - up * vx) * inverse
        empty, which = (seen < 0).flatten(1), seen.flatten(1).clamp_min(0)
        height, width = seen.shape[1:]
        columns = torch.arange(width, device=x.device, dtype=x.dtype) + 0.5
        rows = torch.arange(height, device=x.device, dtype=x.dtype) + 0.5
        at_x, at_y = columns.repeat(height), rows.repeat_interleave(width)
        value = (
            first.gather(1, which)
            + slope_x.gather(1, which) * (at_x - ax.gather(1, which))
            + slope_y.gather(1, which) * (at_y - ay.gather(1, which))
        )
        return value.where(~empty, self.background.to(x.dtype)).view(seen.shape)

    def _outlined(self, picture: Tensor, x: Tensor, y: Tensor, outlines: Tensor) -> Tensor:
        """The picture (N, H, W) with the pixels on both sides of each outline mixed."""
        frame, axis, row, column = (outlines >= 0).nonzero(as_tuple=True)
        code = outlines[frame, axis, row, column]
        start = self.triangles.long()[code // 3, code % 3]
        end = self.triangles.long()[code // 3, (code + 1) % 3]
        ax, ay, bx, by = x[frame, start], y[frame, start], x[frame, end], y[frame, end]
        in_row = axis == 0
        from_p, from_s = torch.where(in_row, ax, ay), torch.where(in_row, ay, ax)
        to_p, to_s = torch.where(in_row, bx, by), torch.where(in_row, by, bx)
        along = torch.where(in_row, row, column) + 0.5  # the line on which both centres lie
        crossing = from_p + (along - from_s) * (to_p - from_p) / (to_s - from_s)
        share = crossing - torch.where(in_row, column, row) - 0.5  # of the way to the other centre
        height, width = picture.shape[1:]
        here = (frame * height + row) * width + column
        there = here + torch.where(in_row, 1, width)
        mixed = torch.where(share < 0.5, here, there)
        other = torch.where(share < 0.5, there, here)
        weight = (0.5 - share).abs()
        # Of a slanting outline's two crossings at a pixel the nearer one tells what it covers; a
        # pixel between two outlines, as of a thin lip, is never mixed with more than its whole.
        flat = picture.flatten()
        totals = flat.new_zeros(2 * len(flat)).index_add(0, axis * len(flat) + mixed, weight)
        in_rows, in_columns = totals[mixed], totals[mixed + len(flat)]
        tells = (in_rows >= in_columns) == in_row
        share = weight * tells / torch.maximum(in_rows, in_columns).clamp_min(1.0)
        change = share * (flat[other] - flat[mixed])
        return flat.index_add(0, mixed, change).view_as(picture)


def _reduced(pictures: Tensor, factor: int) -> Tensor:
    """Means of ``factor`` x ``factor`` pixels; strided sums are faster than pooling."""
    offsets = [(i, j) for i in range(factor) for j in range(factor)]
    total = sum(pictures[:, i::factor, j::factor] for i, j in offsets)
    return total / factor**2  # type: ignore[return-value]


def _in_reach(surface: DrawnSurface, template: FaceTemplate, camera: Camera) -> DrawnSurface:
    """The part of a surface that can come into the view of the mouth."""
    corners = template.vertices[surface.source][surface.triangles]
    low, high = corners.min(axis=1), corners.max(axis=1)
    reach = camera.mm_per_picture / 2 + REACH_MM
    centre = np.array(camera.centre)
    beside = (low[:, :2] > centre + reach) | (high[:, :2] < centre - reach)
    behind = high[:, 2] < template.lips[:, 2].min() - DEPTH_MM
    kept = surface.triangles[~(beside.any(axis=1) | behind)]
    ids, triangles = np.unique(kept, return_inverse=True)
    return DrawnSurface(
        source=surface.source[ids],
        sink=surface.sink[ids],
        triangles=np.ascontiguousarray(triangles.reshape(-1, 3), dtype=np.int32),
        colours=surface.colours[ids],
        gloss=surface.gloss[ids],
    )
