"""Published files name no folder of the machine that made them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_ABSOLUTE = re.compile(r"(?<![\w./:<>~-])/[\w.+@=,~-]+(?:/[\w.+@=,~-]+)*/?")
_KEPT_FROM = ("recipes", "benchmarks", "runs")


def scrubbed(value: Any) -> Any:
    """The value with every absolute path in its strings cut to ``runs/...`` or to a name."""
    if isinstance(value, str):
        return _ABSOLUTE.sub(lambda match: _short_path(match.group()), value)
    if isinstance(value, Mapping):
        return {scrubbed(key): scrubbed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrubbed(one) for one in value]
    return value


def _short_path(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    known = [parts.index(name) for name in _KEPT_FROM if name in parts[:-1]]
    return "/".join(parts[min(known) :]) if known else parts[-1]
