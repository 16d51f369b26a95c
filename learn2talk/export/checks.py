"""What every exporter refuses: an empty motion, and a vertex that is not a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from learn2talk.head_pose import without_head_pose
from learn2talk.schema import Motion


def checked_displacement(motion: Motion, what: str) -> NDArray[np.float64]:
    """Displacement of a motion from its template, (T, V, 3) float64, mm, without its head pose.

    Args:
        motion: to be exported.
        what: the export, for the message ("glTF file").

    Raises:
        ValueError: no frame, no vertex, or a vertex or the template is not finite.
    """
    frames, count = motion.vertices.shape[:2]
    if frames == 0 or count == 0:
        raise ValueError(
            f"motion has {frames} frames of {count} vertices; a {what} needs at least one of each"
        )
    rest = motion.template.vertices
    if not np.isfinite(rest).all():
        vertex = int(np.flatnonzero(~np.isfinite(rest).all(axis=1))[0])
        raise ValueError(
            f"template {motion.template.topology!r} is not finite at vertex {vertex}; repair the "
            f"mesh before making a {what}"
        )
    finite = np.isfinite(motion.vertices).all(axis=2)
    if not finite.all():
        frame, vertex = (int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(
            f"motion is not finite at frame {frame}, vertex {vertex} ({int((~finite).sum())} "
            f"places in all); fill or cut these frames before making a {what}"
        )
    return without_head_pose(motion).vertices.astype(np.float64) - rest
