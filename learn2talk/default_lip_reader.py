"""The lip reader that comes with the package: it reads mouths without sound, real and drawn ones.

Data, licence, figures and limits: `learn2talk/default_lip_reader_files/README.md`.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("default_lip_reader_files")
WEIGHTS = "best.safetensors"


def default_lip_reader() -> Path:
    """File of the bundled lip reader, for `avsr.training.recognizer.load_recognizer`.

    Raises:
        ValueError: the package was copied without it.
    """
    path = FOLDER / WEIGHTS
    if not path.is_file():
        raise ValueError(
            f"{path}: the bundled lip reader is missing; install the package again, or give the "
            "file of a lip reader (--lip-readers FILE --no-bundled-reader)"
        )
    return path
