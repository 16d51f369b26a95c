"""Whatever the splats: alpha is a share, an opaque one hides what is behind, tiles do not show."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learn2talk.avatar.projection import ProjectedSplats, project_splats
from learn2talk.avatar.rasterizer import render_splats
from learn2talk.avatar.reference_rasterizer import draw_reference
from learn2talk.avatar.splats import Splats
from learn2talk.avatar.tile_rasterizer import draw_tiled
from tests.learn2talk.avatar.splat_scenes import front_camera, one_splat, together

place = st.floats(-150, 150)
splat = st.builds(
    one_splat,
    position=st.tuples(place, place, st.floats(-900, 900)),
    sigma=st.floats(1e-6, 1e4),
    opacity=st.floats(1e-4, 1 - 1e-9),
    colour=st.tuples(*[st.floats(0, 1)] * 3),
)
turn = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(v * v for v in q) > 1e-4)
stretch = st.tuples(*[st.floats(-4, 4)] * 3)


def shaped(
    one: Splats, rotation: tuple[float, ...], factors: tuple[float, ...], opacity: float
) -> Splats:
    """A round splat, turned and stretched; float64."""
    return Splats(
        positions=one.positions,
        log_scales=one.log_scales + torch.tensor([factors], dtype=torch.float64),
        rotations=torch.tensor([rotation], dtype=torch.float64),
        opacity_logits=one.opacity_logits + opacity,
        sh=one.sh,
    )


scene = st.lists(st.builds(shaped, splat, turn, stretch, st.floats(-2, 2)), min_size=1, max_size=8)
size = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(parts=scene, size=size)
def test_alpha_is_a_share_and_tiles_do_not_show(parts: list[Splats], size: tuple[int, int]) -> None:
    splats, camera = together(*parts), front_camera(*size)
    drawing = render_splats(splats, camera)
    assert float(drawing.alpha.min()) >= 0.0
    assert float(drawing.alpha.max()) <= 1.0
    assert float(drawing.colour.min()) >= 0.0
    assert float(drawing.colour.max()) <= 1.0 + 1e-9  # colours here are at most 1
    colour, through = draw_reference(project_splats(splats, camera), *size)
    # At most a splat that is as faint as 1/255 may fall to the other side of the threshold.
    assert float((drawing.colour - colour).abs().max()) < len(parts) * 0.004
    assert float((drawing.alpha - 1 + through).abs().mean()) < 1e-3


@settings(max_examples=60, deadline=None)
@given(parts=scene, size=size)
def test_opaque_splats_hide_what_is_behind(parts: list[Splats], size: tuple[int, int]) -> None:
    camera = front_camera(*size)
    wall = [
        one_splat((0.0, 0.0, 595.0 - step), sigma=1e6, opacity=1 - 1e-12, colour=(0.0, 1.0, 0.0))
        for step in range(2)
    ]
    behind = [one for one in parts if float(one.positions[0, 2]) < 590]
    alone = render_splats(together(*wall), camera)
    drawing = render_splats(together(*behind, *wall), camera)
    # The first wall lets a thousandth through; the second would let too little, so the pixel ends
    # there and nothing farther is drawn.
    torch.testing.assert_close(drawing.colour, alone.colour, rtol=0, atol=0)
    assert float(alone.alpha.min()) > 0.998


@settings(max_examples=40, deadline=None)
@given(parts=scene, size=size, seed=st.integers(0, 1000))
def test_the_order_of_the_splats_does_not_matter(
    parts: list[Splats], size: tuple[int, int], seed: int
) -> None:
    splats, camera = together(*parts), front_camera(*size)
    order = torch.randperm(len(parts), generator=torch.Generator().manual_seed(seed))
    projected = project_splats(splats, camera)
    if len(set(projected.depths.tolist())) < len(projected):
        return  # equally deep splats are drawn by their number
    first = draw_tiled(projected, *size)
    mixed: ProjectedSplats = project_splats(splats.map(lambda values: values[order]), camera)
    second = draw_tiled(mixed, *size)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
