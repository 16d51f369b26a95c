"""Fits bound splats to tracked films, by gradient descent through the rasteriser.

The loss and the rates are those of 3D Gaussian Splatting (Kerbl et al. 2023: 0.8 L1 + 0.2 (1 -
SSIM)) and of GaussianAvatars' local splats; instead of growing, splats that nobody sees move to
where the error is (Kheradmand et al., "3D Gaussian Splatting as Markov chain Monte Carlo", 2024),
so that the number stays what the user asked for. Axis letters: N splats, T frames, H W picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from learn2talk.avatar.backdrop import Backdrop
from learn2talk.avatar.binding import posed_in, triangle_frames
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.films import Shot, TrackedPerson
from learn2talk.avatar.pose_correction import PoseCorrection
from learn2talk.avatar.rasterizer import render_splats
from learn2talk.avatar.splats import BoundSplats, Splats

_WINDOW, _SIGMA, _C1, _C2 = 11, 1.5, 0.01**2, 0.03**2  # of SSIM, pictures in 0 to 1
_LIKE = 0.08  # colours this near to the backdrop's are taken for it; 0 to 1, all three together
_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class SplatTrainingConfig:
    """How splats are fitted."""

    steps: int = 1500
    """Updates, of one frame each. On GRID three times as many fit the held-out frames no better."""
    position_rate: float = 1e-2
    """Of Adam, in triangle sizes; it falls to a fiftieth, as that of poses does."""
    scale_rate: float = 2e-2
    """Of log scales."""
    rotation_rate: float = 2e-3
    """Of quaternions."""
    opacity_rate: float = 4e-2
    """Of opacity logits."""
    colour_rate: float = 1e-2
    """Of the constant harmonic; the others learn at a tenth."""
    ssim_weight: float = 0.2
    """Share of 1 - SSIM in the picture's loss; the rest is L1."""
    alpha_weight: float = 5e-2
    """Of the mean alpha where the film shows the backdrop: no splat is to carry a piece of wall."""
    wide_mm: float = 5.0
    """Splats wider than this are pulled back."""
    drift_mm: float = 3.0
    """Splats that leave where they began by more than this are pulled back."""
    pull_weight: float = 1e-2
    """Of both, squared, in mm2."""
    pose_rate: float = 4e-3
    """Of the map that corrects the head's poses; 0: they stay as they were tracked. On two GRID
    films of the training split 0.002 to 0.006 were best, 0.02 fitted the fitted frames alone."""
    move_every: int = 200
    """Updates between moves of unseen splats, until 0.7 of the steps; 0: never."""
    unseen_opacity: float = 0.02
    """A splat below this opacity is unseen."""
    seed: int = 0
    """Of the order of the frames and of the moves."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.move_every < 0:
            raise ValueError(f"splat training: steps and move_every cannot be: {self}")
        for name in (
            "ssim_weight",
            "alpha_weight",
            "pull_weight",
            "wide_mm",
            "drift_mm",
            "pose_rate",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"splat training: {name} is {getattr(self, name)}; give 0 or more")
        if not 0 <= self.unseen_opacity < 1 or self.ssim_weight > 1:
            raise ValueError(f"splat training: unseen_opacity or ssim_weight cannot be: {self}")


def train_splats(
    person: TrackedPerson,
    backdrop: Backdrop,
    start: BoundSplats,
    shots: Sequence[Shot],
    config: SplatTrainingConfig,
    watch: Callable[[int, float], None] | None = None,
) -> tuple[BoundSplats, TrackedPerson]:
    """Fit splats to frames, and correct the poses of all frames by what these show.

    Args:
        person: tracked films. backdrop: what stands behind the head.
        start: splats on the person's mesh.
        shots: the frames to fit, 1 or more.
        config: steps and rates.
        watch: called after each update with its number, from 1, and the loss.

    Returns:
        the fitted splats, on the same triangles for most, other ones for those that moved; and the
        person, whose cameras are corrected.

    Raises:
        ValueError: no frame to fit.
    """
    if not shots:
        raise ValueError("no frame to fit splats to; give a film in which a face was found")
    box = backdrop.box
    behind = torch.from_numpy(backdrop.picture[box].astype(np.float32) / 255.0)
    hull = torch.from_numpy(backdrop.hull[box])
    triangles = torch.from_numpy(person.template.triangles.astype(np.int64))
    poses = PoseCorrection(person)
    parameters, ids = _Parameters(start, poses, config), start.triangle_ids.clone()
    home = parameters.values["positions"].detach().clone()
    generator = np.random.default_rng(config.seed)
    order: list[int] = []
    blame = torch.zeros(len(ids))
    for step in range(1, config.steps + 1):
        if not order:
            order = generator.permutation(len(shots)).tolist()
        shot = shots[order.pop()]
        film = person.films[shot.film]
        truth = torch.from_numpy(film.pictures[shot.frame][box].astype(np.float32) / 255.0)
        camera = cut_out(person.camera_of(shot.film, shot.frame), box)
        frames = triangle_frames(torch.from_numpy(film.vertices[shot.frame]), triangles)
        local = parameters.splats()
        posed = posed_in(local, frames, ids)
        moved = poses.moved(posed.positions, shot.film, shot.frame)
        moved.retain_grad()
        drawing = render_splats(replace(posed, positions=moved), camera, behind)
        loss = _picture_loss(drawing.colour, truth, config.ssim_weight)
        walled = torch.exp(-((truth - behind) / _LIKE).square().sum(dim=2))
        loss = loss + config.alpha_weight * (drawing.alpha * walled)[hull].mean()
        loss = loss + config.pull_weight * _pull(local, posed, home, frames.size[ids], config)
        parameters.update(loss, step / config.steps)
        if moved.grad is not None:
            blame += moved.grad.norm(dim=1)
        if config.move_every and step % config.move_every == 0:
            if step <= 0.7 * config.steps:
                _move_unseen(parameters, ids, home, blame, generator, config)
            blame.zero_()
        if watch is not None:
            watch(step, float(loss.detach()))
    fitted = BoundSplats(parameters.splats().map(lambda v: v.detach().clone()), ids)
    return fitted, poses.corrected(person)


def cut_out(camera: PinholeCamera, box: tuple[slice, slice]) -> PinholeCamera:
    """The camera of a part of the picture, given as its rows and columns."""
    rows, columns = box
    return replace(
        camera,
        cx=camera.cx - columns.start,
        cy=camera.cy - rows.start,
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
    )


class _Parameters:
    """The tensors that are learned, with Adam."""

    def __init__(
        self, start: BoundSplats, poses: PoseCorrection, config: SplatTrainingConfig
    ) -> None:
        local = start.local
        self.falling = {"positions": config.position_rate, "poses": config.pose_rate}
        rates = {
            "positions": config.position_rate,
            "log_scales": config.scale_rate,
            "rotations": config.rotation_rate,
            "opacity_logits": config.opacity_rate,
            "constant": config.colour_rate,
            "harmonics": config.colour_rate / 10.0,
        }
        self.values = {
            "positions": local.positions,
            "log_scales": local.log_scales,
            "rotations": local.rotations,
            "opacity_logits": local.opacity_logits,
            "constant": local.sh[:, :1],
            "harmonics": local.sh[:, 1:],
        }
        self.values = {n: v.detach().clone().requires_grad_() for n, v in self.values.items()}
        groups = [{"params": [v], "lr": rates[n], "name": n} for n, v in self.values.items()]
        if config.pose_rate:
            groups.append({"params": [poses.weights], "lr": config.pose_rate, "name": "poses"})
        self.adam = torch.optim.Adam(groups, eps=1e-15)

    def splats(self) -> Splats:
        """The splats as they are now, connected to what is learned."""
        values = self.values
        return Splats(
            positions=values["positions"],
            log_scales=values["log_scales"],
            rotations=values["rotations"],
            opacity_logits=values["opacity_logits"],
            sh=torch.cat([values["constant"], values["harmonics"]], dim=1),
        )

    def update(self, loss: Tensor, done: float) -> None:
        """One step of Adam at the share ``done`` of the training."""
        for group in self.adam.param_groups:
            if group["name"] in self.falling:
                group["lr"] = self.falling[group["name"]] * 0.02**done
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()

    def copy_rows(self, to: Tensor, source: Tensor) -> None:
        """Rows ``to`` become those of ``source``; what Adam knew of both is forgotten."""
        with torch.no_grad():
            for value in self.values.values():
                value[to] = value[source]
                for known in self.adam.state[value].values():
                    if torch.is_tensor(known) and known.shape == value.shape:
                        known[to] = 0.0
                        known[source] = 0.0


def _move_unseen(
    parameters: _Parameters,
    ids: Tensor,
    home: Tensor,
    blame: Tensor,
    generator: np.random.Generator,
    config: SplatTrainingConfig,
) -> None:
    """Splats of no opacity go where the picture's error pulls most, beside one that is there.

    The two share what the one was: each a little smaller, and as opaque as lets both together
    cover what it did.
    """
    opacity = parameters.values["opacity_logits"].detach().sigmoid()
    unseen = (opacity < config.unseen_opacity).nonzero()[:, 0]
    share = torch.where(opacity < config.unseen_opacity, 0.0, blame.double()).numpy()
    count = min(len(unseen), int((share > 0).sum()))
    if not count:
        return
    source = torch.from_numpy(
        generator.choice(len(share), count, replace=False, p=share / share.sum())
    )
    to = unseen[:count]
    parameters.copy_rows(to, source)
    ids[to], home[to] = ids[source], home[source]
    with torch.no_grad():
        values = parameters.values
        shift = torch.from_numpy(generator.standard_normal((count, 3)).astype(np.float32))
        values["positions"][to] += 0.5 * values["log_scales"][source].exp() * shift
        together = torch.cat([to, source])
        values["log_scales"][together] -= float(np.log(1.3))
        each = 1.0 - (1.0 - opacity[source].clamp(max=0.99)).sqrt()
        values["opacity_logits"][together] = torch.logit(each.clamp_min(0.03)).repeat(2)


def _pull(
    local: Splats, posed: Splats, home: Tensor, size: Tensor, config: SplatTrainingConfig
) -> Tensor:
    """Mean squares, mm2, of what is too wide and of what is too far from its home."""
    wide = (posed.log_scales.exp() - config.wide_mm).clamp_min(0.0).square().sum(dim=1).mean()
    gone = (local.positions - home).norm(dim=1) * size
    return wide + (gone - config.drift_mm).clamp_min(0.0).square().mean()


def _picture_loss(picture: Tensor, truth: Tensor, ssim_weight: float) -> Tensor:
    """(1 - w) L1 + w (1 - SSIM) of pictures (H, W, 3) in 0 to 1."""
    away = (picture - truth).abs().mean()
    if ssim_weight == 0:
        return away
    return (1.0 - ssim_weight) * away + ssim_weight * (1.0 - similarity(picture, truth))


def similarity(picture: Tensor, truth: Tensor) -> Tensor:
    """SSIM of the grey of two pictures (H, W, 3) in 0 to 1, differentiable; H and W 11 or more.

    Wang et al. 2004, eq. 13, over whole windows: `learn2talk.metrics.pictures.
    structural_similarity` of grey pictures. Blurred by two matrix products: on a CPU convolutions
    of one channel took two thirds of an update.
    """
    grey = torch.tensor(_GREY, dtype=picture.dtype)
    one, other = picture @ grey, truth @ grey
    down, across = (_blur(size, picture.dtype) for size in one.shape)
    stack = torch.stack([one, other, one * one, other * other, one * other])
    mean, mean2, square, square2, both = down @ stack @ across.T
    top = (2 * mean * mean2 + _C1) * (2 * (both - mean * mean2) + _C2)
    bottom = (mean**2 + mean2**2 + _C1) * (square - mean**2 + square2 - mean2**2 + _C2)
    return (top / bottom).mean()


def _blur(size: int, dtype: torch.dtype) -> Tensor:
    """Gaussian means of whole windows as a matrix (size - 10, size)."""
    at = torch.arange(_WINDOW, dtype=dtype) - _WINDOW // 2
    kernel = torch.exp(-(at**2) / (2 * _SIGMA**2))
    band = torch.zeros(size - _WINDOW + 1, size, dtype=dtype)
    for place, weight in enumerate(kernel / kernel.sum()):
        band.diagonal(place).fill_(float(weight))
    return band
