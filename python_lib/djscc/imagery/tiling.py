# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut an image into tiles and put it together again, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def grid(height: int, width: int, tile: int) -> tuple[int, int]:
    """Rows and columns of tiles of ``tile`` pixels that cover an image."""
    return -(-height // tile), -(-width // tile)


def cut(image: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    """Cut (H, W, C) into (N, tile, tile, C), row by row; edges are filled by repeating the last pixel."""
    rows, columns = grid(image.shape[0], image.shape[1], tile)
    padded = np.pad(
        image, ((0, rows * tile - image.shape[0]), (0, columns * tile - image.shape[1]), (0, 0)), mode="edge"
    )
    tiles = padded.reshape(rows, tile, columns, tile, -1).swapaxes(1, 2)
    return np.ascontiguousarray(tiles.reshape(rows * columns, tile, tile, -1))


def paste(tiles: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The inverse of :func:`cut`: (N, tile, tile, C) to (H, W, C), cropped back exactly."""
    tile = tiles.shape[1]
    rows, columns = grid(height, width, tile)
    if len(tiles) != rows * columns:
        raise ValueError(f"{len(tiles)} tiles of {tile} do not cover {height} x {width}: that takes {rows * columns}")
    image = tiles.reshape(rows, columns, tile, tile, -1).swapaxes(1, 2).reshape(rows * tile, columns * tile, -1)
    return np.ascontiguousarray(image[:height, :width])
