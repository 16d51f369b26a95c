"""Commands that make and use avatars."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


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

    folder = flame.parent if flame_files is None else flame_files
    face = flame_face(load_flame(flame), read_flame_params(params), folder)
    loaded = load_avatar(splats, face)
    made_of = {path.name: sha256_file(path) for path in (splats, params, flame)}
    save_avatar(out, Avatar(loaded.splats, face, provenance={"made_of_sha256": made_of}))
    print(
        f"written {out}: {len(loaded.splats)} splats on {face.topology}, "
        f"{len(face.triangles)} triangles"
    )
