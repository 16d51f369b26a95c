"""The sync judge that comes with the package: a SyncNet3D that was no loss of any student.

Data, licence, figures and limits: `learn2talk/default_judge_files/README.md`.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("default_judge_files")


def default_judge() -> Path:
    """Folder of the bundled judge, for `learn2talk.files.load_sync_expert`.

    Raises:
        ValueError: the package was copied without it.
    """
    if not (FOLDER / "sync_expert.json").is_file():
        raise ValueError(
            f"{FOLDER}: the bundled sync judge is missing; install the package again, or give the "
            "folder of one (--judge DIR)"
        )
    return FOLDER
