# SPDX-License-Identifier: GPL-3.0-or-later
"""Put received tiles back into the image that they were cut from; what did not arrive stays a grey chequer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from djscc.imagery import load_image
from djscc.imagery.tiling import grid
from djscc.waveform import FrameHeader

MAXIMUM_PIXELS = 100_000_000  # a header may claim any size: refuse what would fill the memory
OPEN_SCENES = 4  # images that are kept open for late frames


def chequer(height: int, width: int, bands: int) -> NDArray[np.uint8]:
    """The picture of what is missing: grey squares of 8 pixels, which no sensor makes."""
    rows, columns = (np.arange(height) // 8 % 2).astype(bool), (np.arange(width) // 8 % 2).astype(bool)
    grey = np.where(rows[:, None] == columns[None], np.uint8(96), np.uint8(160))
    return np.repeat(grey[:, :, None], bands, axis=2)


def _begun(saved: Path | None, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    if saved is not None and saved.is_file():
        bands = saved.with_suffix(".npy")  # of other than one or three bands
        image = np.load(bands, allow_pickle=False) if bands.is_file() else load_image(saved)
        if image.shape == shape and image.dtype == np.uint8:
            return image.copy()
    return chequer(*shape)


class Scenes:
    """Images under way, by scene id. The oldest is given up when a new one comes and ``OPEN_SCENES`` are open."""

    def __init__(self) -> None:
        self._open: dict[int, NDArray[np.uint8]] = {}

    def add(
        self, header: FrameHeader, tiles: NDArray[np.uint8], arrived: NDArray[np.bool_], saved: Path | None = None
    ) -> NDArray[np.uint8] | None:
        """Paste a frame's tiles (those that ``arrived``); returns the image as it stands, or None when the tiles are no image.

        ``saved`` is where an earlier state of the image may lie: a scene that is no longer open goes on from there.
        """
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
            image = self._open[header.scene_id] = _begun(saved, (height, width, header.bands))
        for offset in np.flatnonzero(arrived):
            row, column = divmod(header.tile_index + int(offset), columns)
            if row >= rows:
                break
            y, x = row * tile_height, column * tile_width
            part = image[y : y + tile_height, x : x + tile_width]
            part[:] = tiles[offset, : part.shape[0], : part.shape[1]]
        return image
