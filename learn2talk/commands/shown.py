"""What a command prints, or writes where it is asked to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from avsr.files import write_json


def show(value: dict[str, Any]) -> None:
    """Print as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_or_write(value: dict[str, Any], out: Path | None) -> None:
    """Write to ``out`` and say so; print where it is None."""
    if out is None:
        show(value)
    else:
        write_json(out, value)
        print(f"written {out}")
