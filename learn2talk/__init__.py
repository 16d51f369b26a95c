"""Speech to 3D face motion: `learn2talk.animate("speech.wav", "runs/student")`.

Importing this package imports neither torch nor numpy; a public name is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learn2talk.schema import FaceTemplate, Motion

__all__ = ["FaceTemplate", "Motion", "animate"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name == "animate":
        # The submodule is itself callable: `import learn2talk.animate` would otherwise hide a
        # function of the same name.
        return importlib.import_module("learn2talk.animate")
    if name in ("FaceTemplate", "Motion"):
        return getattr(importlib.import_module("learn2talk.schema"), name)
    raise AttributeError(f"module 'learn2talk' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(__all__)
