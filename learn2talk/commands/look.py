"""Looking at faces: the local page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def view(
    results: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE [FILE ...]")],
    audio: Path | None = None,
    truth: Path | None = None,
    words: Path | None = None,
    port: int = 0,
    browser: bool = True,
) -> None:
    """Look at talking faces side by side, with sound, on a page of this machine.

    Args:
        results: 1 to 9 of .npz motion, .glb, .ply (avatar, 3D Gaussians, mesh), or "built-in", the
            avatar of the package. An avatar is moved by the first motion of its topology here.
        audio: sound or video file with the speech.
        truth: motion (.npz) of the same topology: the errors are shown in millimetres.
        words: what was said and when: JSON of 'avsr transcribe', GRID's .align, or phone times.
        port: of 127.0.0.1; 0 takes a free one.
        browser: whether a browser is opened.
    """
    from learn2talk.default_avatar import avatar_path
    from learn2talk.viewer.scene import load_scene
    from learn2talk.viewer.server import Served, open_in_browser, serve

    scene = load_scene(
        [avatar_path(result) for result in results], audio=audio, truth=truth, words=words
    )
    for note in scene.notes:
        print(f"note: {note}")

    def started(served: Served) -> None:
        print(f"{served.address} shows {_counted(len(scene.results))} (Ctrl-C ends)", flush=True)
        if browser:
            open_in_browser(served.address)

    serve(scene, port=port, started=started)
    print("viewer ended")


def _counted(count: int) -> str:
    return "1 result" if count == 1 else f"{count} results"
