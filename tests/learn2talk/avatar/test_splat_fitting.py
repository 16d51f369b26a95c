"""Seeds, fitting and figures of an avatar, on drawings of the procedural head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avsr.files import read_json
from avsr.tracking import find_face_landmarker
from learn2talk.avatar.avatar_files import load_avatar
from learn2talk.avatar.binding import pose_splats
from learn2talk.avatar.build import (
    BuildConfig,
    backdrop_of_person,
    build_avatar,
    build_procedural,
    split_shots,
    write_built,
)
from learn2talk.avatar.films import FilmConfig, Shot
from learn2talk.avatar.quality import (
    areas_of,
    compare,
    nearest_frame,
    picture_quality,
    still_picture,
)
from learn2talk.avatar.rasterizer import render_splats
from learn2talk.avatar.seeding import SeedConfig, seed_splats
from learn2talk.avatar.splat_training import (
    SplatTrainingConfig,
    cut_out,
    similarity,
    train_splats,
)
from learn2talk.avatar.splats import SH_C0
from learn2talk.drawing import Palette
from learn2talk.head import build_head
from learn2talk.metrics.pictures import structural_similarity
from tests.learn2talk.avatar.small_person import SIZE, plain_backdrop, small_person

SEEDS = SeedConfig(count=700, shell_share=0.0, body=True)
FRAMES = [Shot(film, frame) for film in range(3) for frame in (0, 10, 14)]


def test_seeds_lie_on_the_mesh_with_the_colours_of_the_film() -> None:
    person = small_person()
    bound = seed_splats(person, SEEDS, FRAMES)
    assert len(bound) == 700
    assert bound.local.sh.shape == (700, 1, 3)
    vertices = torch.from_numpy(person.template.vertices)
    triangles = torch.from_numpy(person.template.triangles.astype(np.int64))
    posed = pose_splats(bound, vertices, triangles)
    corners = vertices[triangles[bound.triangle_ids]]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    away = ((posed.positions - corners[:, 0]) * torch.nn.functional.normalize(normal, dim=1)).sum(1)
    assert float(away.abs().max()) < 1e-3
    colour = 0.5 + SH_C0 * bound.local.sh[:, 0]
    hair = np.isin(
        person.template.triangles[bound.triangle_ids.numpy()], person.template.regions["hair"]
    ).all(axis=1)
    dark = np.array(Palette().hair) / 255.0
    assert np.abs(colour[hair].median(dim=0).values.numpy() - dark).max() < 0.15


def test_seeds_depend_on_the_seed_alone() -> None:
    person = small_person()
    one, same, other = (
        seed_splats(person, replace(SEEDS, seed=seed), FRAMES) for seed in (1, 1, 2)
    )
    assert torch.equal(one.local.positions, same.local.positions)
    assert not torch.equal(one.triangle_ids, other.triangle_ids)


def test_the_body_belongs_to_the_backdrop_unless_asked_for() -> None:
    person = small_person()
    shirt = np.isin(person.template.triangles, person.template.regions["shirt"]).all(axis=1)
    without = seed_splats(person, replace(SEEDS, body=False), FRAMES).triangle_ids.numpy()
    assert not shirt[without].any()
    assert shirt[seed_splats(person, SEEDS, FRAMES).triangle_ids.numpy()].any()


def test_a_shell_stands_away_from_the_mesh_but_not_from_the_face() -> None:
    person = small_person()
    bound = seed_splats(person, SeedConfig(count=1000, shell_share=0.5, sh_degree=1), FRAMES)
    assert bound.local.sh.shape[1] == 4
    height = bound.local.positions[:, 1].abs()  # along the normal, in triangle sizes
    off = (height > 1e-4).numpy()
    assert 450 <= off.sum() <= 500
    corners = person.template.triangles[bound.triangle_ids.numpy()[off]]
    assert not np.isin(corners, person.template.regions["lips"]).any()
    assert not np.isin(corners, person.template.regions["eye_white"]).any()


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"shell_share": 1.5}, {"sh_degree": 4}, {"shell_share": -0.1}]
)
def test_seeds_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="seeding: "):
        SeedConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"ssim_weight": 1.5}, {"wide_mm": -1.0}, {"unseen_opacity": 1.0}]
)
def test_fittings_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="splat training: "):
        SplatTrainingConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="held_out is 0.6"):
        BuildConfig(held_out=0.6)


def test_similarity_is_the_metrics_of_grey_pictures() -> None:
    generator = np.random.default_rng(0)
    pair = generator.integers(0, 256, (2, 30, 24), dtype=np.uint8)
    pair[1] = np.clip(pair[0].astype(int) + generator.integers(-30, 30, pair[0].shape), 0, 255)
    one, other = (torch.from_numpy(p).double()[..., None].expand(-1, -1, 3) / 255.0 for p in pair)
    wanted = structural_similarity(reference=pair[:1], prediction=pair[1:])[0]
    assert float(similarity(one, other)) == pytest.approx(wanted, abs=1e-9)
    assert float(similarity(one, one)) == pytest.approx(1.0)


def test_a_cut_out_camera_sees_the_same_part() -> None:
    person = small_person()
    splats = seed_splats(person, SEEDS, FRAMES)
    vertices = torch.from_numpy(person.template.vertices)
    triangles = torch.from_numpy(person.template.triangles.astype(np.int64))
    posed = pose_splats(splats, vertices, triangles)
    whole = render_splats(posed, person.camera).colour
    box = (slice(10, 40), slice(5, 33))
    part = render_splats(posed, cut_out(person.camera, box)).colour
    # The projection is clamped a little outside the picture, so that its edge makes a difference.
    torch.testing.assert_close(part, whole[box], atol=1e-2, rtol=0)


def error_of(bound, shots) -> float:
    person, backdrop = small_person(), plain_backdrop()
    triangles = torch.from_numpy(person.template.triangles.astype(np.int64))
    total = 0.0
    for shot in shots:
        vertices = torch.from_numpy(person.films[shot.film].vertices[shot.frame])
        posed = pose_splats(bound, vertices, triangles)
        behind = torch.from_numpy(backdrop.picture).float() / 255.0
        made = render_splats(posed, person.camera_of(shot.film, shot.frame), behind).colour
        truth = torch.from_numpy(person.films[shot.film].pictures[shot.frame]).float() / 255.0
        total += float((made - truth).square().mean())
    return total / len(shots)


@pytest.mark.slow
def test_fitting_brings_the_picture_nearer_and_is_repeatable() -> None:
    person, start = small_person(), seed_splats(small_person(), SEEDS, FRAMES)
    config = SplatTrainingConfig(steps=40, move_every=10, seed=3)
    seen: list[tuple[int, float]] = []
    before = start.local.positions.clone()
    fitted, _ = train_splats(
        person, plain_backdrop(), start, FRAMES, config, lambda *now: seen.append(now)
    )
    assert torch.equal(start.local.positions, before)  # what was given is left as it was
    assert len(fitted) == len(start)
    assert [step for step, _ in seen] == list(range(1, 41))
    assert error_of(fitted, FRAMES) < 0.5 * error_of(start, FRAMES)
    other_pose = [Shot(1, 5)]  # a frame that was not fitted
    assert error_of(fitted, other_pose) < 0.6 * error_of(start, other_pose)
    again, _ = train_splats(person, plain_backdrop(), start, FRAMES, config)
    assert torch.equal(again.local.sh, fitted.local.sh)


def test_unseen_splats_move_beside_others() -> None:
    person, start = small_person(), seed_splats(small_person(), SEEDS, FRAMES)
    gone = replace(
        start,
        local=replace(start.local, opacity_logits=start.local.opacity_logits.clone()),
    )
    gone.local.opacity_logits[:50] = -9.0
    moving = SplatTrainingConfig(steps=12, move_every=6)
    moved, _ = train_splats(person, plain_backdrop(), gone, FRAMES, moving)
    stayed, _ = train_splats(person, plain_backdrop(), gone, FRAMES, replace(moving, move_every=0))
    assert (moved.triangle_ids[:50] != gone.triangle_ids[:50]).any()
    assert torch.equal(stayed.triangle_ids, gone.triangle_ids)
    assert (moved.local.opacity_logits[:50] > -5).sum() > 40
    assert (stayed.local.opacity_logits[:50] < -5).all()


def test_nothing_to_fit_is_refused() -> None:
    start = seed_splats(small_person(), SEEDS, FRAMES)
    with pytest.raises(ValueError, match="no frame to fit splats to"):
        train_splats(small_person(), plain_backdrop(), start, [], SplatTrainingConfig(steps=1))


def test_the_last_frames_of_each_film_are_held_out() -> None:
    fitted, kept = split_shots(small_person(), 0.2)
    frames = len(small_person().films[0].pictures)
    first = frames - round(0.2 * frames)
    assert {shot.frame for shot in kept} == set(range(first, frames))
    assert {shot.film for shot in kept} == {0, 1, 2}
    assert not set(fitted) & set(kept)
    assert len(fitted) + len(kept) == 3 * frames
    assert split_shots(small_person(), 0.0)[1] == []


def test_nothing_is_taken_from_the_pictures_that_are_held_out() -> None:
    person = small_person()
    fitted, kept = split_shots(person, 0.2)
    painted = [film.pictures.copy() for film in person.films]
    for shot in kept:
        painted[shot.film][shot.frame] = 255
    films = tuple(replace(f, pictures=p) for f, p in zip(person.films, painted, strict=True))
    other = replace(person, films=films)
    one, same = (seed_splats(who, SEEDS, fitted) for who in (person, other))
    assert torch.equal(one.local.sh, same.local.sh)
    first, second = (backdrop_of_person(who, fitted) for who in (person, other))
    assert np.array_equal(first.picture, second.picture)
    assert not np.array_equal(first.picture, backdrop_of_person(other, kept).picture)


def test_figures_of_perfect_still_and_nearest_pictures() -> None:
    person, backdrop = small_person(), plain_backdrop()
    shots = [Shot(1, 3), Shot(1, 12)]

    def perfect(shot: Shot) -> np.ndarray:
        return person.films[shot.film].pictures[shot.frame]

    found = picture_quality(person, backdrop, shots, perfect)
    assert set(found) == {"picture", "head", "mouth"}
    assert found["mouth"].ssim == pytest.approx(1.0)
    assert found["mouth"].to_json() == {"psnr_db": None, "ssim": 1.0, "frames": 2}
    still = picture_quality(person, backdrop, shots, still_picture(person, FRAMES))
    nearest = picture_quality(person, backdrop, shots, nearest_frame(person, [*FRAMES, *shots]))
    assert np.isinf(nearest["mouth"].psnr_db)  # the frame itself is among those known
    assert still["mouth"].psnr_db < 40


def test_psnr_by_hand_and_boxes_inside_the_picture() -> None:
    black, grey = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 51, np.uint8)
    psnr, _ = compare(black, grey)  # a fifth of the range everywhere: 20 log10 5
    assert psnr == pytest.approx(20 * np.log10(5.0))
    for area in areas_of(small_person(), plain_backdrop(), Shot(0, 0)).values():
        for side in area:
            assert 0 <= side.start < side.stop <= SIZE
            assert side.stop - side.start >= 11


@pytest.mark.slow
def test_a_procedural_avatar_is_built_measured_and_written(tmp_path: Path) -> None:
    config = BuildConfig(
        seeds=replace(SEEDS, sh_degree=1),
        training=SplatTrainingConfig(steps=30),
        held_out=0.1,
    )
    said: list[str] = []
    built = build_procedural(build_head(), SIZE, config, Palette(), say=said.append, progress=False)
    assert len({shot.film for shot in built.held_out}) == 2  # of 21 directions, wholly
    assert not {s.film for s in built.held_out} & {s.film for s in built.fitted}
    quality = built.quality
    assert quality["avatar"]["head"].psnr_db > quality["still"]["head"].psnr_db + 1
    assert built.avatar.background is None
    figures = write_built(tmp_path / "head.ply", built)
    facts = read_json(figures)
    assert facts["splats"] == 700
    assert facts["quality"]["avatar"]["head"]["frames"] == len(built.held_out)
    assert facts["provenance"]["config"]["training"]["steps"] == 30
    found = load_avatar(tmp_path / "head.ply")
    assert torch.equal(found.splats.triangle_ids, built.avatar.splats.triangle_ids)
    assert found.provenance == facts["provenance"]
    assert said and "700 splats" in said[0]


@pytest.mark.slow
@pytest.mark.real_data
def test_an_avatar_of_a_real_film(avsr_data: Path, tmp_path: Path) -> None:
    landmarker = find_face_landmarker(avsr_data)
    assert landmarker is not None
    clip = avsr_data / "grid/s1/video/bbaf3s.mp4"
    config = BuildConfig(
        films=FilmConfig(height=144),
        seeds=SeedConfig(count=3000),
        training=SplatTrainingConfig(steps=200),
    )
    built = build_avatar([clip], landmarker, config, say=lambda _: None, progress=False)
    assert len(built.held_out) == 8
    quality = built.quality
    assert quality["avatar"]["picture"].psnr_db > 25
    assert quality["avatar"]["mouth"].psnr_db > quality["still"]["mouth"].psnr_db
    assert built.avatar.background is not None
    write_built(tmp_path / "head.ply", built)
    assert load_avatar(tmp_path / "head.ply").camera is not None


@pytest.mark.real_data
def test_a_film_that_is_too_short(avsr_data: Path) -> None:
    landmarker = find_face_landmarker(avsr_data)
    assert landmarker is not None
    clip = avsr_data / "grid/s1/video/bbaf3s.mp4"
    config = BuildConfig(films=FilmConfig(max_frames=10), held_out=0.1)
    with pytest.raises(ValueError, match="frames with a face are left to fit"):
        build_avatar([clip], landmarker, config, say=lambda _: None, progress=False)
