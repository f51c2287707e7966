# SPDX-License-Identifier: GPL-3.0-or-later
"""Put received tiles back into the image that they were cut from; what did not arrive stays a grey chequer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from djscc.imagery.tiling import grid
from djscc.waveform import FrameHeader

MAXIMUM_PIXELS = 100_000_000  # a header may claim any size: refuse what would fill the memory
OPEN_SCENES = 4  # images that are kept open for late frames


def chequer(height: int, width: int, bands: int) -> NDArray[np.uint8]:
    """The picture of what is missing: grey squares of 8 pixels, which no sensor makes."""
    rows, columns = np.arange(height)[:, None] // 8, np.arange(width)[None] // 8
    grey = np.where((rows + columns) % 2 == 0, 96, 160).astype(np.uint8)
    return np.repeat(grey[:, :, None], bands, axis=2)


class Scenes:
    """Images under way, by scene id. The oldest is given up when a new one comes and ``OPEN_SCENES`` are open."""

    def __init__(self) -> None:
        self._open: dict[int, NDArray[np.uint8]] = {}

    def add(
        self, header: FrameHeader, tiles: NDArray[np.uint8], arrived: NDArray[np.bool_]
    ) -> NDArray[np.uint8] | None:
        """Paste a frame's tiles (those that ``arrived``); returns the image as it stands, or None when the tiles are no image."""
        height, width, tile_height, tile_width = (
            header.image_height,
            header.image_width,
            header.tile_height,
            header.tile_width,
        )
        if height == 0 or width == 0 or height * width > MAXIMUM_PIXELS or tile_height != tile_width:
            return None
        rows, columns = grid(height, width, tile_height)
        if rows * columns != header.tiles_total:
            return None
        image = self._open.get(header.scene_id)
        if image is None or image.shape != (height, width, header.bands):
            while len(self._open) >= OPEN_SCENES:
                self._open.pop(next(iter(self._open)))
            image = self._open[header.scene_id] = chequer(height, width, header.bands)
        for offset in np.flatnonzero(arrived):
            row, column = divmod(header.tile_index + int(offset), columns)
            if row >= rows:
                break
            y, x = row * tile_height, column * tile_width
            part = image[y : y + tile_height, x : x + tile_width]
            part[:] = tiles[offset, : part.shape[0], : part.shape[1]]
        return image
