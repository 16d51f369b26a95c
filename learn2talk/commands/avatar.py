"""Commands that make and use avatars."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from learn2talk.avatar.build import BuildConfig, BuiltAvatar


def avatar_build(
    video: Annotated[tuple[Path, ...], arg(metavar="FILE [FILE ...]")],
    out: Path,
    config: BuildConfig,
    landmarker_model: Path | None = None,
    sheet: Path | None = None,
) -> None:
    """Make an avatar of the person in a talking film; print how like the film it is.

    The last tenth of each film is not fitted but measured (--config.held-out). Beside the avatar a
    .json says what it was made of and how like it is.

    Args:
        video: talking films of one person and one camera that stands still; a minute is plenty.
        out: avatar to write, .ply.
        config: films, splats, fitting.
        landmarker_model: face_landmarker.task; looked for where 'avsr fetch face-landmarker' puts
            it.
        sheet: picture to write, .png: frames of the film above, the avatar below.
    """
    from avsr.tracking import find_face_landmarker, landmarker_cache
    from learn2talk.avatar.build import build_avatar, write_built

    if not video:
        raise ValueError("no film; give --video clip.mp4, or several films of one person")
    _check_ply(out)
    found = landmarker_model or find_face_landmarker(os.environ.get("AVSR_DATA"))
    built = build_avatar(video, found or landmarker_cache(), config)
    figures = write_built(out, built)
    _show_built(built, out, figures, sheet)


def avatar_procedural(
    out: Path, config: BuildConfig, sheet: Path | None = None, size: int = 320
) -> None:
    """Make the avatar that comes with the package: the procedural head, drawn from 21 sides.

    Args:
        out: avatar to write, .ply.
        config: splats and fitting; films are not read.
        sheet: picture to write, .png: drawings above, the avatar below.
        size: height and width of the drawings, pixels.
    """
    from learn2talk.avatar.build import build_procedural, write_built
    from learn2talk.drawing import Palette
    from learn2talk.head import build_head

    _check_ply(out)
    built = build_procedural(build_head(), size, config, Palette())
    figures = write_built(out, built)
    _show_built(built, out, figures, sheet)


def _check_ply(out: Path) -> None:
    if out.suffix != ".ply":
        raise ValueError(f"{out}: an avatar is a .ply file; give --out head.ply")


def _show_built(built: BuiltAvatar, out: Path, figures: Path, sheet: Path | None) -> None:
    from learn2talk.avatar.contact_sheet import sheet_of, write_png
    from learn2talk.avatar.even_choice import evenly

    for system, areas in built.quality.items():
        for area, quality in areas.items():
            print(
                f"{system:8} {area:8} PSNR {quality.psnr_db:5.2f} dB  SSIM {quality.ssim:.3f}  "
                f"({quality.frames} frames held out)"
            )
    if sheet is not None:
        shots = built.held_out or built.fitted
        chosen = [shots[place] for place in evenly(len(shots), 5)]
        truth = [built.person.films[shot.film].pictures[shot.frame] for shot in chosen]
        write_png(sheet, sheet_of([truth, [built.draw(shot) for shot in chosen]]))
        print(f"written {sheet}")
    print(f"written {out}: {len(built.avatar.splats)} splats; figures in {figures}")


def avatar_bind(splats: Positional[Path], template: Path, out: Path) -> None:
    """Bind splats of 3D Gaussian Splatting to the nearest triangles of a face, so that it drives
    them.

    Args:
        splats: .ply of splats that lie on the face: its axes (x to the image's right, y up, z to
            the viewer), its millimetres, its place.
        template: neutral face (.npz), or a motion, whose template is taken.
        out: avatar to write, .ply.
    """
    import numpy as np
    import torch

    from avsr.files import sha256_file
    from learn2talk.avatar.avatar_files import Avatar, save_avatar
    from learn2talk.avatar.binding import bind_to_nearest, triangle_frames
    from learn2talk.avatar.splat_files import read_splats
    from learn2talk.avatar.splats import Splats
    from learn2talk.files import load_template

    _check_ply(out)
    face, found = load_template(template), read_splats(splats)
    if not isinstance(found, Splats):
        raise ValueError(f"{splats}: is bound to a mesh already; 'learn2talk animate' takes it")
    vertices = torch.from_numpy(face.vertices)
    triangles = torch.from_numpy(face.triangles.astype(np.int64))
    bound = bind_to_nearest(found, vertices, triangles)
    centres = triangle_frames(vertices, triangles).centre[bound.triangle_ids]
    away = (found.positions - centres).norm(dim=1)
    made_of = {path.name: sha256_file(path) for path in (splats, template)}
    save_avatar(out, Avatar(bound, face, provenance={"made_of_sha256": made_of}))
    print(
        f"written {out}: {len(bound)} splats on {len(bound.triangle_ids.unique())} of "
        f"{len(triangles)} triangles of {face.topology}, half of them within "
        f"{float(away.median()):.1f} mm, all within {float(away.max()):.1f} mm"
        if len(bound)
        else f"written {out}: no splats"
    )


def avatar_flame_params(
    motion: Positional[Path],
    flame: Path,
    out: Path,
    avatar_params: Path | None = None,
    flame_files: Path | None = None,
    as_first_frame: bool = False,
) -> None:
    """Write a motion as FLAME parameters, which drive a GaussianAvatars head; print what it lost.

    Args:
        motion: motion (.npz) of 'learn2talk animate', of any face with lips.
        flame: your own FLAME file: generic_model.pkl, flame2023.pkl or .npz.
        out: file to write, flame_param.npz.
        avatar_params: flame_param.npz of the avatar, whose shape and static offset are taken; the
            mean head unless given.
        flame_files: folder of your FLAME masks and landmarks, for a motion of another topology;
            the folder of the FLAME file unless given.
        as_first_frame: the head stands as in the first frame of avatar_params, where the avatar's
            cameras look; without it, at the origin of FLAME's coordinates, upright.
    """
    from learn2talk.avatar.flame_model import load_flame
    from learn2talk.avatar.flame_motion import flame_params_of, placed_as
    from learn2talk.avatar.flame_params import read_flame_params, write_flame_params
    from learn2talk.files import load_motion

    if as_first_frame and avatar_params is None:
        raise ValueError("--as-first-frame needs the frame: give --avatar-params flame_param.npz")
    face_motion, _ = load_motion(motion)
    own = None if avatar_params is None else read_flame_params(avatar_params)
    model = load_flame(flame)
    folder = flame.parent if flame_files is None else flame_files
    params, report = flame_params_of(face_motion, model, avatar=own, folder=folder)
    if own is not None and as_first_frame:
        params = placed_as(params, own)
    offset = params.static_offset
    write_flame_params(out, params, len(model.vertices) if offset is None else len(offset))
    for line in report.lines():
        print(line)
    print(f"written {out}: {len(params)} frames, made at {face_motion.fps:g} a second")


def avatar_from_flame(
    splats: Positional[Path],
    params: Path,
    flame: Path,
    out: Path,
    flame_files: Path | None = None,
) -> None:
    """Make an avatar that speech can drive of a head that GaussianAvatars made.

    Args:
        splats: point_cloud.ply of GaussianAvatars.
        params: flame_param.npz beside it, whose shape and static offset are the head's.
        flame: FLAME with all triangles that the splats ride on: .npz with the teeth that
            GaussianAvatars adds (docs/flame.md), or your own FLAME file where it added none.
        out: avatar to write, .ply.
        flame_files: folder of your FLAME masks and landmarks; the folder of the FLAME file unless
            given.
    """
    from avsr.files import sha256_file
    from learn2talk.avatar.avatar_files import Avatar, load_avatar, save_avatar
    from learn2talk.avatar.flame_model import load_flame
    from learn2talk.avatar.flame_motion import flame_face
    from learn2talk.avatar.flame_params import read_flame_params

    _check_ply(out)
    folder = flame.parent if flame_files is None else flame_files
    face = flame_face(load_flame(flame), read_flame_params(params), folder)
    loaded = load_avatar(splats, face)
    made_of = {path.name: sha256_file(path) for path in (splats, params, flame)}
    save_avatar(out, Avatar(loaded.splats, face, provenance={"made_of_sha256": made_of}))
    print(
        f"written {out}: {len(loaded.splats)} splats on {face.topology}, "
        f"{len(face.triangles)} triangles"
    )
