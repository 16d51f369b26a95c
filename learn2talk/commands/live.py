"""The command that lets a voice move a face while it speaks."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def live(
    file: Positional[Path | None] = None,
    student: Path | None = None,
    avatar: Path | None = None,
    look_ahead_frames: int | None = None,
    port: int = 0,
    browser: bool = True,
    log: Path | None = None,
) -> None:
    """Let a voice move a face on a local page; Ctrl-C ends it and prints what was measured.

    The sound is the browser's microphone, or the file at the pace at which it is heard. Nothing of
    it leaves this machine, and nothing is kept.

    Args:
        file: sound or video file that the page can play.
        student: folder of a trained student; without it the one that comes with the package.
        avatar: head of Gaussians (.ply), or "built-in", to move in place of the student's own face.
        look_ahead_frames: frames of 40 ms that the lips wait for, 1 to the student's own; fewer are
            faster and less exact. Without it 4; benchmarks/results/live_latency.md has the cost.
        port: of 127.0.0.1; 0 takes a free one.
        browser: open the page in this machine's browser.
        log: file (.jsonl) for what the pages measure: latency of each frame, what was lost.
    """
    from learn2talk.default_avatar import avatar_path
    from learn2talk.viewer.live_page import run_live

    service = run_live(
        file,
        student=student,
        avatar=None if avatar is None else avatar_path(avatar),
        look_ahead_frames=look_ahead_frames,
        port=port,
        browser=browser,
        log=log,
    )
    for line in service.figures.lines:
        print(line)
    if log is not None:
        print(f"written {log}")
