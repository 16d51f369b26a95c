"""A picture to judge an avatar by: film above, avatar below, some frames side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsr.files import write_atomically

_GAP, _WHITE = 4, 255


def write_png(path: Path | str, picture: NDArray[np.uint8]) -> None:
    """Write a picture uint8 RGB (H, W, 3) as `.png`, atomically."""
    import av

    height, width = picture.shape[:2]
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "rgb24"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    packets = [*codec.encode(frame), *codec.encode(None)]
    with write_atomically(path) as temporary:
        temporary.write_bytes(b"".join(bytes(packet) for packet in packets))


def sheet_of(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Pictures (H, W, 3) of one size, in rows, with white gaps.

    Raises:
        ValueError: no picture, rows of different lengths, or pictures of different sizes.
    """
    shapes = {picture.shape for row in rows for picture in row}
    if len(shapes) != 1 or len({len(row) for row in rows}) != 1:
        raise ValueError(
            f"a sheet needs rows of one length and pictures of one size; these are {len(rows)} "
            f"rows with pictures of {sorted(shapes)}"
        )
    height, width = next(iter(shapes))[:2]
    across, down = len(rows[0]), len(rows)
    size = (down * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP, 3)
    sheet = np.full(size, _WHITE, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + _GAP), j * (width + _GAP)
            sheet[top : top + height, left : left + width] = picture
    return sheet
