"""The avatar that comes with the package: the procedural head as splats, nobody's face.

How it was made, its figures and its limits: `learn2talk/default_avatar_files/README.md`.
"""

from __future__ import annotations

from pathlib import Path

BUILT_IN = "built-in"  # the word that stands for it where a file is asked for
FOLDER = Path(__file__).with_name("default_avatar_files")


def default_avatar() -> Path:
    """The bundled `.ply`, for `learn2talk.avatar.avatar_files.load_avatar`.

    Raises:
        ValueError: the package was copied without it.
    """
    path = FOLDER / "head.ply"
    if not path.is_file():
        raise ValueError(
            f"{path}: the bundled avatar is missing; install the package again, or give another "
            "(--avatar head.ply)"
        )
    return path


def avatar_path(given: Path | str) -> Path:
    """The file that was named, or the bundled one for the word "built-in"."""
    return default_avatar() if str(given) == BUILT_IN else Path(given)
