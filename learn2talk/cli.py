"""The `learn2talk` command: train, check, measure and use faces that speech moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from avsr.command_line import run_commands
from avsr.training.command import use_one_thread
from learn2talk.commands import avatar as avatars
from learn2talk.commands import live, look, loop, measure, prepare, train

DESCRIPTION = "Speech to 3D face motion: train it, measure it, use it."


def animate(
    audio: Positional[Path],
    out: Annotated[tuple[Path, ...], arg(metavar="FILE [FILE ...]")],
    student: Path | None = None,
    template: Path | None = None,
    style: str | None = None,
    avatar: str | None = None,
    camera: str | None = None,
    size: int | None = None,
    head_motion: Path | None = None,
    blinks: bool = False,
    seed: int = 0,
) -> None:
    """Make a face say a sound file.

    Args:
        audio: sound or video file, any rate.
        student: folder of a trained student; without it the one that comes with the package.
        out: what to write, by its ending: .mp4 film with sound, .npz motion in millimetres, .glb
            glTF mesh with morph targets (no sound), .csv ARKit curves as Live Link Face writes
            them, .json ARKit curves.
        template: neutral face (.npz) of the student's topology to move instead of its own.
        style: a speaker that the student knows, "average", or a motion (.npz) whose talker's way of
            moving the lips is taken.
        avatar: head of 3D Gaussians (.ply of 'learn2talk avatar build') that the film shows, or
            "built-in"; without it the mesh is drawn. Other files hold the motion on its mesh.
        camera: of an avatar: "front" (as in the film it was made from; the default), "orbit", or a
            camera file (.json).
        size: height of the film, pixels; 512, or that of the avatar's film.
        head_motion: folder of 'learn2talk train head-motion', which moves the head; without it the
            head stays still.
        blinks: whether the eyes blink; the face must have eyelids, as the built-in head has.
        seed: of head motion and blinks; another one gives another movement.
    """
    from learn2talk.animation_files import animate_file
    from learn2talk.files import load_template

    if not out:
        raise ValueError("nothing to write; give --out face.mp4, or several: face.mp4 face.glb")
    face = None if template is None else load_template(template)
    written = animate_file(
        audio,
        student,
        out,
        template=face,
        style=style,
        avatar=avatar,
        camera=camera,
        size=size,
        head_motion=head_motion,
        blinks=blinks,
        seed=seed,
        say=print,
    )
    for path in written:
        print(f"written {path}")


COMMANDS: dict[str, Callable[..., Any]] = {
    "prepare tracked": prepare.prepare_tracked,
    "prepare joined": prepare.prepare_joined,
    "prepare drawn": prepare.prepare_drawn,
    "prepare vocaset": prepare.prepare_vocaset,
    "prepare biwi": prepare.prepare_biwi,
    "train sync": train.train_sync,
    "train ear": train.train_ear,
    "train student": train.train_student,
    "train autoregressive": train.train_autoregressive,
    "train lip-reader": train.train_lip_reader,
    "train head-motion": train.train_head_motion,
    "train picture-sync": train.train_picture_sync,
    "train talking-mouth": train.train_talking_mouth,
    "check-sync": measure.check_sync,
    "evaluate": measure.evaluate,
    "evaluate-teacher": measure.evaluate_teacher,
    "evaluate-head-motion": measure.evaluate_head_motion,
    "readability": measure.readability,
    "readability corpus": measure.readability_corpus,
    "closed-loop": loop.closed_loop,
    "augmentation-study": loop.augmentation_study,
    "animate": animate,
    "view": look.view,
    "live": live.live,
    "avatar build": avatars.avatar_build,
    "avatar bind": avatars.avatar_bind,
    "avatar procedural": avatars.avatar_procedural,
    "avatar flame-params": avatars.avatar_flame_params,
    "avatar from-flame": avatars.avatar_from_flame,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; a user's error is one line on stderr and exit code 1."""
    use_one_thread()
    run_commands("learn2talk", DESCRIPTION, COMMANDS, argv)
