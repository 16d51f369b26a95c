"""Training metrics as JSON lines, one file a run, consistent after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from avsr.files import read_jsonl, write_jsonl


class MetricsLog:
    """``metrics.jsonl``: rows with an ``update``; rows after the resumed update are taken out."""

    def __init__(self, path: Path, resumed_update: int) -> None:
        self.path = path
        kept = []
        if path.exists():
            # A killed run may leave half a last line: only whole lines count.
            whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
            path.write_text(whole + "\n" if whole else "", encoding="utf-8")
            kept = [row for row in read_jsonl(path) if row["update"] <= resumed_update]
        write_jsonl(path, kept)

    def append(self, row: dict[str, Any]) -> None:
        """Add one row and flush it."""
        with open(self.path, "a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
