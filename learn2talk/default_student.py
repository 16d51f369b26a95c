"""The student that comes with the package, so that speech moves a face right after installing.

Data, licence, figures and limits: `learn2talk/default_student_files/README.md`.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("default_student_files")


def default_student() -> Path:
    """Folder of the bundled student, for `learn2talk.files.load_student`.

    Raises:
        ValueError: the package was copied without it.
    """
    if not (FOLDER / "student.json").is_file():
        raise ValueError(
            f"{FOLDER}: the bundled student is missing; install the package again, or give the "
            "folder of a student"
        )
    return FOLDER
