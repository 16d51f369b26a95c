"""The mouth with gradients: against the drawer's picture, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from learn2talk.articulation import CONTROLS, animate_head
from learn2talk.drawing import render_mouth_crops
from learn2talk.head import build_head
from learn2talk.models.renderer import DEPTH_MM, MouthRenderer
from learn2talk.schema import FaceTemplate

FACES = {  # jaw spread round upper lower tuck press seal tongue
    "closed": (0, 0, 0, 0, 0, 0, 0, 0, 0),
    "open": (0.9, 0, 0, 0, 0, 0, 0, 0, 0),
    "round": (0.2, 0, 1, 0, 0, 0, 0, 0, 0),
    "smile": (0.14, 0.9, 0, 0.3, 0.35, 0, 0, 0, 0),
}


def faces(*names: str) -> np.ndarray:
    curves = np.array([FACES[name] for name in names], dtype=np.float32)
    assert curves.shape[1] == len(CONTROLS)
    return animate_head(build_head(), curves)


def without_inside() -> FaceTemplate:
    """The head with an open hole for a mouth, as tracked faces have it."""
    head = build_head().template
    gone = ("mouth_inside", "teeth_upper", "teeth_lower", "tongue")
    inside = np.concatenate([head.region(name) for name in gone])
    regions = {name: ids for name, ids in head.regions.items() if name not in gone}
    kept = head.triangles[~np.isin(head.triangles, inside).any(axis=1)]
    return FaceTemplate("hollow", head.vertices, kept, regions)


def drawn(template: FaceTemplate, vertices: np.ndarray, **settings: int) -> np.ndarray:
    with torch.no_grad():
        return MouthRenderer(template, **settings)(torch.from_numpy(vertices)[None])[0].numpy()


def fine_picture(template: FaceTemplate, vertices: np.ndarray) -> np.ndarray:
    """The slow reference: the drawer with 64 samples a pixel, middle 88x88, in [0, 1]."""
    crops = render_mouth_crops(vertices, template, supersampling=8)
    return crops[:, 4:92, 4:92].astype(np.float64) / 255.0


@pytest.mark.parametrize("hollow", [False, True])
def test_it_is_the_picture_of_the_drawer(hollow: bool) -> None:
    template = without_inside() if hollow else build_head().template
    moved = faces(*FACES)
    expected = fine_picture(template, moved)
    for supersampling, mean, outliers in ((2, 0.003, 0.03), (1, 0.006, 0.07)):
        away = np.abs(drawn(template, moved, supersampling=supersampling) - expected)
        assert away.mean() < mean and np.percentile(away, 99) < outliers
    open_mouth, closed = expected[1, 40:52, 30:58], expected[0, 40:52, 30:58]
    assert open_mouth.mean() < closed.mean() - 0.1  # the test would see a mouth that stays shut


def central_differences(
    renderer: MouthRenderer, vertices: Tensor, weights: Tensor, places: list[tuple[int, int]]
) -> Tensor:
    found = []
    for vertex, axis in places:
        values = []
        for step in (1e-6, -1e-6):
            moved = vertices.clone()
            moved[0, 0, vertex, axis] += step
            values.append(float((renderer(moved) * weights).sum()))
        found.append((values[0] - values[1]) / 2e-6)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize(("hollow", "supersampling"), [(False, 1), (True, 1), (False, 2)])
def test_gradients_are_those_of_finite_differences(hollow: bool, supersampling: int) -> None:
    template = without_inside() if hollow else build_head().template
    vertices = torch.from_numpy(faces("open").astype(np.float64))[None].requires_grad_()
    renderer = MouthRenderer(template, size=44, supersampling=supersampling)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(1, 1, 44, 44, generator=generator, dtype=torch.float64)
    picture = renderer(vertices)
    (gradient,) = torch.autograd.grad((picture * weights).sum(), vertices)
    around = [int(i) for i in (*template.lip_ids[::4], *template.region("lips")[5::16])]
    places = [(vertex, axis) for vertex in around for axis in range(3)]
    with torch.no_grad():
        expected = central_differences(renderer, vertices, weights, places)
    got = torch.stack([gradient[0, 0, vertex, axis] for vertex, axis in places])
    assert expected.abs().max() > 0.05 and (expected.abs() > 1e-3).sum() > 20
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def a_lip_before_the_dark() -> FaceTemplate:
    """Two flat lips with a gap of 6 mm before a mouth's inside, every surface of one colour."""
    x = np.linspace(-25.0, 25.0, 11)

    def strip(low: float, high: float, z: float, slant: float) -> np.ndarray:
        rows = [np.c_[x, np.full(11, y) + slant * x, np.full(11, z)] for y in (low, high)]
        return np.concatenate(rows)

    parts = [
        strip(-12.0, -3.0, 5.0, 0.1),
        strip(3.0, 12.0, 5.0, -0.05),
        strip(-9.0, 9.0, 0.0, 0.0),
    ]
    one = [(i, i + 1, 12 + i) for i in range(10)] + [(i, 12 + i, 11 + i) for i in range(10)]
    triangles = np.concatenate([np.array(one) + 22 * part for part in range(3)])
    lower, upper = np.arange(11, 22), 22 + np.arange(11)  # what borders the gap
    ring = np.concatenate([lower, upper[9:0:-1]])
    return FaceTemplate(
        "strips",
        np.concatenate(parts).astype(np.float32),
        triangles,
        {
            "lips_outer": ring,
            "lips_inner": ring,
            "lips": np.arange(44),
            "mouth_inside": 44 + np.arange(22),
        },
    )


def test_a_lip_of_one_colour_still_has_the_gradient_of_its_outline() -> None:
    template = a_lip_before_the_dark()
    renderer = MouthRenderer(template, size=32, supersampling=1)
    vertices = torch.from_numpy(template.vertices).double()[None, None].requires_grad_()
    picture = renderer(vertices)
    lip, dark = picture[0, 0, [20, 16], 16].tolist()
    assert lip > dark + 0.2
    (gradient,) = torch.autograd.grad(picture.sum(), vertices)
    # Raising the lower lip's border by 1 mm covers a stripe of 1 mm over the picture's width, and
    # changes no shading.
    mm_per_pixel = renderer.camera.mm_per_picture / 32
    expected = (lip - dark) * 32 / mm_per_pixel
    raised = float(gradient[0, 0, 11:22, 1].sum())
    assert raised == pytest.approx(expected, rel=0.03)
    assert float(gradient[0, 0, 22:33, 1].sum()) == pytest.approx(-expected, rel=0.03)
    places = [(vertex, axis) for vertex in range(12, 21, 2) for axis in (0, 1)]
    with torch.no_grad():
        exact = central_differences(renderer, vertices, torch.ones(1), places)
    got = torch.stack([gradient[0, 0, vertex, axis] for vertex, axis in places])
    torch.testing.assert_close(got, exact, rtol=1e-5, atol=1e-7)


def test_an_outline_that_passes_a_pixels_centre_does_not_jump() -> None:
    template = a_lip_before_the_dark()
    renderer = MouthRenderer(template, size=32, supersampling=1)
    steps = torch.linspace(0.0, 2.5, 101, dtype=torch.float64)  # mm, more than 2 pixels
    vertices = torch.from_numpy(template.vertices).double().repeat(len(steps), 1, 1)
    vertices[:, 11:22, 1] += steps[:, None]
    pictures = renderer(vertices[None])[0]
    lip, dark = pictures[0, [20, 16], 16].tolist()
    per_step = 0.025 / (renderer.camera.mm_per_picture / 32)  # of a pixel
    assert float(pictures.diff(dim=0).abs().max()) < 1.2 * per_step * (lip - dark)


def test_lowering_the_lip_changes_the_true_picture_as_the_gradient_says() -> None:
    head = build_head()
    openings = np.zeros((3, len(CONTROLS)), dtype=np.float32)
    openings[:, 0] = 0.55, 0.6, 0.65
    moved = animate_head(head, openings)
    direction = torch.from_numpy(moved[2] - moved[0]).double()
    vertices = torch.from_numpy(moved[1:2].astype(np.float64))[None].requires_grad_()
    window = torch.zeros(88, 88, dtype=torch.float64)
    window[36:66, 24:64] = 1.0  # lips and the mouth's inside
    picture = MouthRenderer(head.template)(vertices)
    (gradient,) = torch.autograd.grad((picture[0, 0] * window).sum(), vertices)
    expected = fine_picture(head.template, moved[[0, 2]]) * window.numpy()
    change = expected[1].sum() - expected[0].sum()
    assert change < -3.0  # of about a thousand pixels: it gets darker
    assert float((gradient[0, 0] * direction).sum()) == pytest.approx(change, rel=0.2)


def test_descent_opens_a_mouth_until_the_pictures_agree() -> None:
    template = a_lip_before_the_dark()
    renderer = MouthRenderer(template, size=40, supersampling=1)
    rest = torch.from_numpy(template.vertices)
    lips = torch.zeros_like(rest)
    lips[:22, 1] = -1.0  # mm of opening lower the lower lip as a whole

    def picture(opening: Tensor) -> Tensor:
        return renderer((rest + opening * lips)[None, None])

    wanted = picture(torch.tensor(4.0))
    opening = torch.tensor(0.5, requires_grad=True)
    optimizer = torch.optim.Adam([opening], lr=0.15)
    for _ in range(60):
        optimizer.zero_grad()
        (picture(opening) - wanted).square().sum().backward()
        optimizer.step()
    assert float(opening.detach()) == pytest.approx(4.0, abs=0.2)


def test_clips_and_frames_do_not_touch_each_other() -> None:
    template = build_head().template
    moved = torch.from_numpy(faces("closed", "open", "round", "smile")).view(2, 2, -1, 3)
    renderer = MouthRenderer(template)
    together = renderer(moved)
    assert together.shape == (2, 2, 88, 88) and 0.0 <= together.min() and together.max() <= 1.0
    torch.testing.assert_close(together[1:, 1:], renderer(moved[1:, 1:]))
    assert renderer(moved[:, :0]).shape == (2, 0, 88, 88)


def test_a_larger_face_elsewhere_is_drawn_by_its_own_rest() -> None:
    template = build_head().template
    renderer = MouthRenderer(template)
    moved = torch.from_numpy(faces("open"))[None].double()
    rest = torch.from_numpy(template.vertices)[None].double()
    offset = torch.tensor([3.0, -4.0, 6.0], dtype=torch.float64)
    plain = renderer(moved, rest)
    torch.testing.assert_close(plain, renderer(moved), rtol=0, atol=1e-3)
    torch.testing.assert_close(renderer(1.2 * moved + offset, 1.2 * rest + offset), plain)


def test_gradients_are_finite_for_every_face_and_reach_the_lips() -> None:
    template = build_head().template
    vertices = torch.from_numpy(faces(*FACES))[None].requires_grad_()
    picture = MouthRenderer(template)(vertices)
    (gradient,) = torch.autograd.grad(picture.square().sum(), vertices)
    assert bool(torch.isfinite(gradient).all())
    lips = gradient[0][:, template.lip_ids.astype(np.int64)]
    assert bool((lips.norm(dim=-1) > 0).float().mean() > 0.9)
    back = template.vertices[:, 2] < template.lips[:, 2].min() - DEPTH_MM - 30
    assert back.any() and float(gradient[0][:, torch.from_numpy(back)].abs().max()) == 0.0


def test_bad_input_is_refused_in_one_line() -> None:
    head = build_head().template
    renderer = MouthRenderer(head)
    moved = torch.from_numpy(faces("open", "closed"))[None]
    broken = moved.clone()
    broken[0, 1, 7, 2] = float("nan")
    bare = FaceTemplate("bare", head.vertices, head.triangles, {"skin": head.region("skin")})
    for refused, message in (
        (lambda: renderer(broken), "clip 0, frame 1 is not a number"),
        (lambda: renderer(moved[:, :, :7]), r"\(1, 2, 7, 3\), but the renderer's topology"),
        (lambda: renderer(moved[0]), "give \\(B, T, 2500, 3\\)"),
        (lambda: renderer(moved, moved[0]), "one for each clip"),
        (lambda: MouthRenderer(bare), "'bare' has no region 'lips_outer'; it has skin"),
        (lambda: MouthRenderer(head, size=0), "size is 0 and supersampling 2"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            refused()
        assert "\n" not in str(error.value)


@pytest.mark.gpu
def test_a_gpu_draws_the_same_with_the_same_gradients() -> None:
    template = build_head().template
    moved = torch.from_numpy(faces(*FACES))[None]
    results = []
    for device in ("cpu", "cuda"):
        vertices = moved.to(device).requires_grad_()
        picture = MouthRenderer(template).to(device)(vertices)
        picture.square().sum().backward()
        assert vertices.grad is not None
        results.append((picture.detach().cpu(), vertices.grad.cpu()))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-3)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-2, atol=1e-2)
