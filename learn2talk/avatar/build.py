"""An avatar from talking films of one person: tracked, seeded, fitted, measured, written.

One camera sees a face from one side. What it never saw, the back of the head, the inside of a mouth
that did not open, is the colour of what is near it; the shape is that of the procedural head fitted
to landmarks; the light of the film is painted on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avsr.files import sha256_file, write_json
from learn2talk.avatar.avatar_files import Avatar, save_avatar
from learn2talk.avatar.backdrop import Backdrop, backdrop_of, outline_of
from learn2talk.avatar.drawn_person import drawn_person
from learn2talk.avatar.films import FilmConfig, Shot, TrackedPerson, track_person
from learn2talk.avatar.quality import (
    PictureQuality,
    nearest_frame,
    picture_quality,
    quality_facts,
    still_picture,
)
from learn2talk.avatar.rasterizer import render_splats
from learn2talk.avatar.seeding import SeedConfig, in_picture, seed_splats
from learn2talk.avatar.splat_training import SplatTrainingConfig, train_splats
from learn2talk.drawing import Palette
from learn2talk.fitting.procedural import head_model
from learn2talk.head import Head
from learn2talk.schema import FaceTemplate

MIN_FRAMES = 10  # fewer frames with a face say too little of how it moves


@dataclass(frozen=True)
class BuildConfig:
    """How an avatar is made."""

    films: FilmConfig = field(default_factory=FilmConfig)
    """How films are read and followed."""
    seeds: SeedConfig = field(default_factory=SeedConfig)
    """How many splats, and where they begin."""
    training: SplatTrainingConfig = field(default_factory=SplatTrainingConfig)
    """How they are fitted."""
    held_out: float = 0.1
    """Share of each film, its last frames, that is not fitted but measured; 0: no figures."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.held_out <= 0.5:
            raise ValueError(f"held_out is {self.held_out}; give a share from 0 to 0.5")


@dataclass(frozen=True, eq=False)
class BuiltAvatar:
    """What `build_avatar` made.

    quality: system -> area -> figures on the held-out frames; empty where none were held out. The
    systems are "avatar", and the controls "still" and "nearest" of `quality`.
    """

    avatar: Avatar
    person: TrackedPerson
    backdrop: Backdrop
    fitted: tuple[Shot, ...]
    held_out: tuple[Shot, ...]
    quality: dict[str, dict[str, PictureQuality]]

    def draw(self, shot: Shot) -> NDArray[np.uint8]:
        """The avatar as a frame's tracked face and camera have it, uint8 (H, W, 3)."""
        film = self.person.films[shot.film]
        camera = self.person.camera_of(shot.film, shot.frame)
        behind = torch.from_numpy(self.backdrop.picture.astype(np.float32) / 255.0)
        with torch.no_grad():
            posed = self.avatar.posed(film.vertices[shot.frame])
            colour = render_splats(posed, camera, behind).colour
        picture: NDArray[np.uint8] = (colour.clamp(0.0, 1.0) * 255.0).round().byte().numpy()
        return picture


def build_avatar(
    paths: Sequence[Path],
    landmarker_model: Path,
    config: BuildConfig = BuildConfig(),
    *,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> BuiltAvatar:
    """Make an avatar of the person in some films.

    Args:
        paths: talking films of one person and one camera that stands still.
        landmarker_model: face_landmarker.task.
        config: films, splats, fitting, frames held out.
        say: receives lines for the user.
        progress: show a bar while fitting.

    Raises:
        ValueError: as `films.track_person`; fewer than 10 frames with a face.
    """
    person = track_person(paths, landmarker_model, head_model(), config.films, say)
    fitted, held_out = split_shots(person, config.held_out)
    if len(fitted) < MIN_FRAMES:
        raise ValueError(
            f"{', '.join(map(str, paths))}: {len(fitted)} frames with a face are left to fit; give "
            f"films with at least {MIN_FRAMES}"
        )
    backdrop = backdrop_of_person(person, fitted)
    made_by = _provenance(paths, config)
    shots = (fitted, held_out)
    return _fitted(person, backdrop, config, shots, made_by, backdrop.picture, say, progress)


def _fitted(
    person: TrackedPerson,
    backdrop: Backdrop,
    config: BuildConfig,
    shots: tuple[list[Shot], list[Shot]],
    made_by: dict[str, Any],
    background: NDArray[np.uint8] | None,
    say: Callable[[str], None],
    progress: bool,
) -> BuiltAvatar:
    """Splats fitted to a person's films, and measured."""
    from tqdm import tqdm

    fitted, held_out = shots
    start = seed_splats(person, config.seeds, fitted)
    say(
        f"{len(start)} splats, fitted to {len(fitted)} frames, {len(held_out)} held out; the "
        f"mesh's lips are {np.mean([f.lips_mm for f in person.films]):.1f} mm from the tracked ones"
    )
    with tqdm(
        total=config.training.steps, desc="fit splats", unit="step", disable=not progress
    ) as bar:

        def watch(step: int, loss: float) -> None:
            bar.update()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

        splats, person = train_splats(person, backdrop, start, fitted, config.training, watch)
    camera = None if background is None else person.camera
    avatar = Avatar(splats, person.template, camera, background, made_by)
    built = BuiltAvatar(avatar, person, backdrop, tuple(fitted), tuple(held_out), {})
    if held_out:
        for name, draw in (
            ("avatar", built.draw),
            ("still", still_picture(person, fitted)),
            ("nearest", nearest_frame(person, fitted)),
        ):
            built.quality[name] = picture_quality(person, backdrop, held_out, draw)
    return built


def build_procedural(
    head: Head,
    size: int,
    config: BuildConfig,
    palette: Palette,
    *,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> BuiltAvatar:
    """An avatar of the procedural head, from drawings of it: nobody's face, and free to use.

    Args:
        head: the neutral head. size: height and width of the drawings, pixels.
        config: splats, fitting, and the share of the directions that is held out.
        palette: colours and light.
        say, progress: as in `build_avatar`.
    """
    person = drawn_person(head, size, palette)
    picture = np.full((size, size, 3), palette.background, np.uint8)
    backdrop = Backdrop(picture, np.ones((size, size), bool))
    made_by = {"made_by": "learn2talk avatar procedural", "config": asdict(config)}
    shots = [[Shot(n, t) for t in range(len(f.vertices))] for n, f in enumerate(person.films)]
    count = round(config.held_out * len(shots))
    away = {int(n) for n in np.linspace(0, len(shots) - 1, count + 2).round()[1:-1]}
    fitted = [shot for n, of_film in enumerate(shots) if n not in away for shot in of_film]
    held_out = [shot for n in sorted(away) for shot in shots[n]]
    return _fitted(person, backdrop, config, (fitted, held_out), made_by, None, say, progress)


def split_shots(person: TrackedPerson, held_out: float) -> tuple[list[Shot], list[Shot]]:
    """Frames with a face: those to fit, and the last ones of each film, which are not."""
    fitted: list[Shot] = []
    kept: list[Shot] = []
    for number, film in enumerate(person.films):
        frames = [Shot(number, int(frame)) for frame in np.flatnonzero(film.tracked)]
        first = len(frames) - round(held_out * len(frames))
        fitted += frames[:first]
        kept += frames[first:]
    return fitted, kept


def backdrop_of_person(person: TrackedPerson, shots: Sequence[Shot]) -> Backdrop:
    """What stands behind the head in all films, by the pictures of some frames.

    Hair hangs about the head's upper part, down to the mouth; closely around the jaw and the neck
    is what is behind them. Where the head may be is told by the tracked mesh of every frame.
    """
    template = person.template
    upper, lower = (template.triangles[chosen] for chosen in _upper_and_lower(template))
    size = (person.camera.height, person.camera.width)
    with_hair, close = np.zeros(size, bool), np.zeros(size, bool)
    for number, film in enumerate(person.films):
        for frame in np.flatnonzero(film.tracked):
            x, y, z = in_picture(film.vertices[frame], person.camera_of(number, int(frame)))
            screen = np.stack([x, y, -z], axis=1)
            with_hair |= outline_of(screen, upper, size)
            close |= outline_of(screen, lower, size)
    pictures = [person.films[shot.film].pictures[shot.frame] for shot in shots]
    return backdrop_of(pictures, with_hair, close)


def _upper_and_lower(template: FaceTemplate) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which triangles (F,) are the head above the mouth, and which are jaw and neck; no shirt."""
    height = template.vertices[template.triangles, 1].max(axis=1)
    shirt = np.isin(template.triangles, template.regions.get("shirt", [])).any(axis=1)
    above = (height > float(template.lips[:, 1].mean())) & ~shirt
    return above, ~above & ~shirt


def _provenance(paths: Sequence[Path], config: BuildConfig) -> dict[str, Any]:
    return {
        "made_by": "learn2talk avatar build",
        "films": [{"name": path.name, "sha256": sha256_file(path)} for path in paths],
        "config": asdict(config),
    }


def write_built(path: Path, built: BuiltAvatar) -> Path:
    """Write the avatar as `.ply`, and its facts and figures as `.json` beside it.

    Returns:
        the file of the figures.
    """
    save_avatar(path, built.avatar)
    figures = path.with_suffix(".json")
    write_json(
        figures,
        {
            "avatar": path.name,
            "avatar_sha256": sha256_file(path),
            "splats": len(built.avatar.splats),
            "frames_fitted": len(built.fitted),
            "frames_held_out": len(built.held_out),
            "mesh_lips_mm": [film.lips_mm for film in built.person.films],
            "quality": quality_facts(built.quality),
            "provenance": dict(built.avatar.provenance),
        },
    )
    return figures
