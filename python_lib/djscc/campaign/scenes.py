# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut images into tiles, and put received tiles back into the image; what did not arrive stays a grey chequer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from djscc.campaign.plan import resolve_data
from djscc.imagery import ImageError, TileSet, cut, load_image, load_tiles
from djscc.imagery.tiling import grid
from djscc.waveform import FrameHeader

MAXIMUM_BYTES = 1 << 29  # of an image: a header may claim any size, and what would fill the memory is refused
OPEN_SCENES, OPEN_BYTES = 4, 1 << 30  # images that are kept open for late frames, at most
TILE = 64  # pixels of a side of the tiles that an image is cut into


def read_scene(name: str | Path, limit: int | None = None, bands: int | None = None) -> tuple[TileSet, tuple[int, int]]:
    """What is to be sent: the tiles of a folder (or .zip, or landsat), with image size (0, 0); or those that an image is cut into,
    with its height and width. ``limit`` takes so many of a folder; grey pictures have three bands, or one where ``bands`` is 1.
    ImageError for an image that no receiver puts together."""
    path = Path(name) if Path(name).exists() else resolve_data(name)
    if path.is_dir() or path.suffix.lower() == ".zip":
        return load_tiles(path, bands).take(limit), (0, 0)
    image = load_image(path, bands)
    height, width = image.shape[:2]
    if image.size > MAXIMUM_BYTES:
        raise ImageError(
            f"{path}: {height} x {width} pixels of {image.shape[2]} bands are {image.size / 2**20:.0f} MiB, a receiver puts "
            f"images of up to {MAXIMUM_BYTES >> 20} MiB together; cut it into several"
        )
    pieces = cut(image, TILE)
    return TileSet(pieces, tuple(f"{path.name}#{i}" for i in range(len(pieces)))), (height, width)


def chequer(height: int, width: int, bands: int) -> NDArray[np.uint8]:
    """The picture of what is missing: grey squares of 8 pixels, which no sensor makes."""
    rows, columns = (np.arange(height) // 8 % 2).astype(bool), (np.arange(width) // 8 % 2).astype(bool)
    grey = np.where(rows[:, None] == columns[None], np.uint8(96), np.uint8(160))
    return np.repeat(grey[:, :, None], bands, axis=2)


def _begun(saved: Path | None, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    if saved is not None and saved.is_file():
        array = saved.with_suffix(".npy")  # of other than one or three bands
        image = np.load(array, allow_pickle=False) if array.is_file() else load_image(saved, shape[2])
        if image.shape == shape and image.dtype == np.uint8:
            return image.copy()
    return chequer(*shape)


class Scenes:
    """Images under way, by scene id. The oldest are given up when a new one comes and they are ``OPEN_SCENES``, or hold
    ``OPEN_BYTES``."""

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
        size = height * width * header.bands
        if not 0 < size <= MAXIMUM_BYTES or tile_height != tile_width:
            return None
        rows, columns = grid(height, width, tile_height)
        if rows * columns != header.tiles_total:
            return None
        image = self._open.get(header.scene_id)
        if image is None or image.shape != (height, width, header.bands):
            held = self._open.values()
            while len(held) >= OPEN_SCENES or (held and sum(other.nbytes for other in held) + size > OPEN_BYTES):
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
