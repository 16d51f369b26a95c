"""A sound file in, files of a moving face out: films with sound, motions, glTF, ARKit curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from avsr.files import read_audio, sha256_file, write_video
from avsr.training.command import available_cores
from learn2talk.animate import animate, checked_waveform
from learn2talk.avatar.avatar_files import Avatar, load_avatar
from learn2talk.avatar.avatar_film import FRONT, cameras_for, draw_avatar, motion_on_avatar
from learn2talk.avatar.cameras import PinholeCamera
from learn2talk.avatar.lip_sync import lip_sync
from learn2talk.default_avatar import avatar_path
from learn2talk.default_student import default_student
from learn2talk.export.arkit import ArkitCurves, solve_arkit
from learn2talk.export.curves import write_arkit_json, write_live_link_csv
from learn2talk.export.gltf import write_glb
from learn2talk.files import TrainedStudent, load_motion, load_student, save_motion
from learn2talk.head_motion_files import load_head_motion
from learn2talk.head_pose import without_head_pose
from learn2talk.render import render_frames
from learn2talk.schema import FaceTemplate, Motion

DEFAULT_SIZE = 512


def animate_file(
    audio: Path,
    student: Path | None,
    outs: Sequence[Path],
    *,
    template: FaceTemplate | None = None,
    style: str | None = None,
    avatar: Path | str | None = None,
    camera: str | None = None,
    size: int | None = None,
    progress: bool = True,
    head_motion: Path | None = None,
    blinks: bool = False,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Animate a file and write the result in each form that the names in `outs` ask for.

    Args:
        audio: sound or video file.
        student: folder of a trained student; None takes the one that comes with the package.
        outs: files to write, each in the form that its ending names in `FORMATS`.
        template: as in `animate`.
        style: a known speaker, "average", or a motion file (`.npz`) to take the style from.
        avatar: `.ply` of a head of splats, or "built-in"; None draws the mesh. With one, every file
            holds the motion on the avatar's mesh.
        camera: of an avatar, see `avatar_film.cameras_for`; None is "front".
        size: height of the film, pixels, even; None: 512, or that of the avatar's film.
        progress: show a bar while rendering, once it has lasted 2 seconds.
        head_motion: folder of a trained head motion; None: the head stays still.
        blinks: whether the eyes blink.
        seed: of head motion and blinks.
        say: receives lines for the user: how well an avatar's mesh follows, and whether a film's
            lips and sound are together (the bundled judge's offset).

    Returns:
        the files that were written, in order.

    Raises:
        ValueError: an unknown ending or a camera without an avatar, before anything is computed;
            otherwise as `animate`, `load_avatar` and `cameras_for`.
    """
    for out in outs:
        if out.suffix not in FORMATS:
            known = ", ".join(f"{suffix} ({what})" for suffix, (what, _) in FORMATS.items())
            raise ValueError(f"{out}: unknown ending {out.suffix!r}; give {known}")
    if size is not None and (size < 2 or size % 2):
        raise ValueError(f"film size is {size} pixels; H.264 needs an even number, 512 is usual")
    if avatar is None and camera is not None:
        raise ValueError(f"camera {camera!r} looks at an avatar; give --avatar head.ply too")
    head = None if avatar is None else load_avatar(avatar_path(avatar))
    trained = load_student(default_student() if student is None else student)
    waveform = checked_waveform(read_audio(audio), str(audio))
    given: str | Motion | None = style
    if style is not None and Path(style).suffix == ".npz":
        given, _ = load_motion(style)
    said: dict[str, Any] = (
        {} if style is None else {"style": style if given is style else Path(style).name}
    )
    mover = None if head_motion is None else load_head_motion(head_motion)
    motion = animate(
        waveform, trained, template, given, head_motion=mover, blinks=blinks, seed=seed
    )
    if mover is not None:
        said["head_motion_sha256"] = mover.provenance["weights_sha256"]
    if mover is not None or blinks:
        said |= {"blinks": blinks, "seed": seed}
    if head is not None and avatar is not None:
        motion, report = motion_on_avatar(motion, head)
        said["avatar_sha256"] = sha256_file(avatar_path(avatar))
        if say is not None and report.jaw_regions:
            say(
                f"carried over from {trained.template.topology}: the avatar's lips differ by up to "
                f"{report.lip_error_max_mm:.2f} mm from the motion's"
            )
    cameras = [] if head is None else cameras_for(head, len(motion.vertices), camera or FRONT, size)
    made = _Animation(
        motion,
        waveform,
        _provenance(audio, trained) | said,
        size or DEFAULT_SIZE,
        progress,
        head,
        cameras,
    )
    for out in outs:
        FORMATS[out.suffix][1](out, made)
        if say is not None and out.suffix == ".mp4":
            say(f"{out}: {made.sync_words()}")
    return list(outs)


@dataclass(frozen=True, eq=False)
class _Animation:
    """What `animate_file` made, for the writers; ARKit curves are solved once, when asked for."""

    motion: Motion
    waveform: NDArray[np.float32]
    provenance: dict[str, Any]
    size: int
    progress: bool
    avatar: Avatar | None
    cameras: Sequence[PinholeCamera]

    @cached_property
    def curves(self) -> ArkitCurves:
        return solve_arkit(self.motion)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """The pictures of the film."""
        if self.avatar is None:
            return render_frames(self.motion.vertices, self.motion.template, size=self.size)
        return draw_avatar(
            self.avatar, self.motion.vertices, self.cameras, num_threads=available_cores()
        )

    def sync_words(self) -> str:
        """What the judge says of the film's lips and sound."""
        still = without_head_pose(self.motion)
        score = lip_sync(self.waveform, still.lips, still.template.lips)
        if score is None:
            return "too short for the sync judge, which looks 15 frames either way"
        return (
            f"sound and lips are {abs(score.offset_ms):.0f} ms apart"
            + ("" if score.offset_frames == 0 else f" ({_LATE[score.offset_frames > 0]} late)")
            + f", LSE-C {score.lse_c:.3f}, as the bundled judge SyncNet3D finds"
        )


_LATE = {True: "sound", False: "lips"}


def write_film(
    out: Path,
    frames: Iterator[NDArray[np.uint8]],
    motion: Motion,
    waveform: NDArray[np.float32],
    *,
    progress: bool = True,
) -> None:
    """Write pictures, drawn off screen on the CPU, as a film with its sound.

    Args:
        out: `.mp4` (H.264, AAC).
        frames: uint8 (H, W, 3), one a frame of the motion.
        motion: at a whole number of frames a second.
        waveform: float32 (S,) at 16 kHz in [-1, 1].
        progress: show a bar once it has lasted 2 seconds.
    """
    shown = tqdm(
        frames,
        total=len(motion.vertices),
        desc=f"render {out.name}",
        unit="frame",
        delay=2.0,
        disable=not progress,
    )
    write_video(out, shown, round(motion.fps), np.clip(waveform, -1.0, 1.0))


def _provenance(audio: Path, trained: TrainedStudent) -> dict[str, Any]:
    return {
        "audio": audio.name,
        "audio_sha256": sha256_file(audio),
        "student": {k: v for k, v in trained.provenance.items() if k != "excluded"},
        "made_by": "learn2talk animate",
        "generated": True,
    }


# What an ending means: words for messages, and the writer.
FORMATS: dict[str, tuple[str, Callable[[Path, _Animation], object]]] = {
    ".mp4": (
        "film with sound",
        lambda out, made: write_film(
            out, made.frames(), made.motion, made.waveform, progress=made.progress
        ),
    ),
    ".npz": (
        "motion in millimetres",
        lambda out, made: save_motion(out, made.motion, made.provenance),
    ),
    ".glb": (
        "glTF mesh with morph targets, without sound",
        lambda out, made: write_glb(out, made.motion, made.provenance),
    ),
    ".csv": (
        "ARKit curves as Live Link Face writes them",
        lambda out, made: write_live_link_csv(out, made.curves),
    ),
    ".json": (
        "ARKit curves",
        lambda out, made: write_arkit_json(out, made.curves, made.provenance),
    ),
}
