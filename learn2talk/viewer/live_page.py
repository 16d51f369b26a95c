"""`learn2talk live`: a voice moves a face on a local page, and how long that takes is measured."""

from __future__ import annotations

from pathlib import Path

from avsr.files import read_audio
from avsr.units import VIDEO_FPS
from learn2talk.default_student import default_student
from learn2talk.files import TrainedStudent, load_student
from learn2talk.schema import Motion
from learn2talk.viewer.live_service import LiveService
from learn2talk.viewer.live_socket import LiveSocket
from learn2talk.viewer.results import Result, read_result
from learn2talk.viewer.scene import SOUND_RATE_HZ, Scene
from learn2talk.viewer.server import Served, open_in_browser, serve

# What the lips lose by hearing less of what follows: benchmarks/results/live_latency.md.
LIVE_LOOK_AHEAD_FRAMES = 4
START_PAGE, SOCKET = "/live.html", "/live/socket"


def live_look_ahead(student: TrainedStudent, frames: int | None) -> int | None:
    """The look-ahead to stream with: what was asked for, else 4 frames or the student's own."""
    if frames is not None:
        return frames
    own: int = getattr(student.model.config, "look_ahead_frames", LIVE_LOOK_AHEAD_FRAMES)
    return min(own, LIVE_LOOK_AHEAD_FRAMES)


def live_result(student: TrainedStudent, avatar: Path | None) -> Result:
    """The face at rest that the page shows: the student's own, or an avatar of its topology.

    Raises:
        ValueError: a file that is no avatar, or one that is made on another topology.
    """
    if avatar is None:
        face = student.template
        return Result(face.topology, "motion", Motion(face.vertices[None], VIDEO_FPS, face))
    result = read_result(avatar, student.template)
    if result.kind != "avatar" or result.motion is None:
        raise ValueError(f"{avatar}: is no avatar (splats on a mesh); make one with avatar build")
    student.face_of(result.motion.template)
    return result


def run_live(
    file: Path | None = None,
    *,
    student: Path | None = None,
    avatar: Path | None = None,
    look_ahead_frames: int | None = None,
    port: int = 0,
    browser: bool = True,
    log: Path | None = None,
) -> LiveService:
    """Serve the page until Ctrl-C.

    Args:
        file: sound or video file that the page can play; None: the microphone alone.
        student: folder of a trained student; None takes the one that comes with the package.
        avatar: `.ply` to move in place of the student's own face.
        look_ahead_frames: see `live_look_ahead`.
        port: of 127.0.0.1; 0 takes a free one.
        browser: open the page in this machine's browser.
        log: JSON lines of what the pages measure.

    Returns:
        What the pages were served with; its figures are those of all of them.

    Raises:
        ValueError: a file that cannot be read, a student that cannot stream, an avatar of another
            topology, or a port that cannot be had.
    """
    trained = load_student(default_student() if student is None else student)
    result = live_result(trained, avatar)
    assert result.motion is not None  # `live_result` refuses splats alone
    service = LiveService(
        trained,
        live_look_ahead(trained, look_ahead_frames),
        template=result.motion.template,
        sound=None if file is None else read_audio(file),
        sound_name="" if file is None else file.name,
        log=log,
    )
    scene = Scene(
        (result,),
        sound=None if file is None else read_audio(file, SOUND_RATE_HZ).clip(-1.0, 1.0),
        sound_name=service.sound_name,
    )

    socket = LiveSocket(service)

    def started(served: Served) -> None:
        print(f"live on {served.address} (this machine alone); Ctrl-C ends it", flush=True)
        print(f"the algorithm waits {service.algorithmic_ms:.1f} ms", flush=True)
        if browser:
            open_in_browser(served.address)

    try:
        serve(
            scene,
            port=port,
            started=started,
            routes={SOCKET: socket.handle},
            start_page=START_PAGE,
            ending=socket.say_goodbye,
        )
    finally:
        service.close()
        service.write_log()
    return service
