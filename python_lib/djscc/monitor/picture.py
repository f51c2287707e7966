# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene as it comes: its tiles on a canvas of bounded size, and a map of how each of them arrived."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from djscc.imagery import as_shown
from djscc.imagery.tiling import grid
from djscc.waveform import FrameHeader

SIDE = 1024  # pixels of a canvas at most, about
LEAST_CELL = 4  # pixels of a tile at least
MOST_TILES = (SIDE // LEAST_CELL) ** 2

PAPER = (0xE9, 0xEC, 0xEE)  # not yet
LOST = (0xC9, 0x3A, 0x3A)
PART = (0xE0, 0xA0, 0x30)
WORST_DB, BEST_DB = 20.0, 40.0
WORST, BEST = np.array((0xC6, 0xDF, 0xF0)), np.array((0x0B, 0x4F, 0x86))
UNMEASURED = (0x56, 0x97, 0xC4)


class Picture:
    """One scene. Raises ValueError for a header of which no picture can be made.

    Tiles that were cut from an image lie as they lay there; others side by side in reading order.
    """

    def __init__(self, header: FrameHeader) -> None:
        self.scene_id, self.total = header.scene_id, header.tiles_total
        self.image_size = (header.image_height, header.image_width)
        self.columns = self._columns(header)
        self.rows = -(-self.total // self.columns)
        longest = max(self.columns, self.rows)
        if self.total > MOST_TILES or longest * LEAST_CELL > 4 * SIDE:
            raise ValueError(f"{self.total} tiles are too many to show")
        self.cell = max(LEAST_CELL, min(max(header.tile_height, header.tile_width), SIDE // longest))
        self.canvas = np.empty((self.rows * self.cell, self.columns * self.cell, 3), np.uint8)
        self.canvas[:] = PAPER
        self.map = np.empty((self.rows, self.columns, 3), np.uint8)
        self.map[:] = PAPER
        self.arrived = np.zeros(self.total, bool)
        self.version = 0
        self._encoded: dict[str, tuple[int, bytes]] = {}

    def _columns(self, header: FrameHeader) -> int:
        height, width = self.image_size
        if height and width and header.tile_height == header.tile_width:
            rows, columns = grid(height, width, header.tile_height)
            if rows * columns == header.tiles_total:
                return columns
        self.image_size = (0, 0)
        return max(1, math.ceil(math.sqrt(1.5 * self.total)))

    def fits(self, header: FrameHeader) -> bool:
        """Whether a frame belongs to this picture."""
        last = header.tile_index + len(header.layers)
        return header.scene_id == self.scene_id and header.tiles_total == self.total and last <= self.total

    def add(self, header: FrameHeader, entries: Sequence[Mapping[str, Any]], tiles: NDArray[np.uint8] | None) -> None:
        """Take a frame: what is said of each tile, and its pixels (N, H, W, C) if they came."""
        for offset, entry in enumerate(entries[: len(header.layers)]):
            place = header.tile_index + offset
            row, column = divmod(place, self.columns)
            share = _number(entry.get("erased")) or 0.0
            self.arrived[place] |= share < 1
            self.map[row, column] = _colour(share, _number(entry.get("psnr_db")))
            if tiles is not None and share < 1:
                y, x = row * self.cell, column * self.cell
                self.canvas[y : y + self.cell, x : x + self.cell] = self._scaled(tiles[offset])
        self.version += 1

    def _scaled(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        tile = as_shown(tile)
        if tile.shape[:2] == (self.cell, self.cell):
            return tile
        return np.asarray(Image.fromarray(tile).resize((self.cell, self.cell), Image.Resampling.BOX))

    def png(self, kind: str) -> bytes:
        """The ``picture`` or the ``map`` as PNG; made anew only when something came since."""
        version, data = self._encoded.get(kind, (-1, b""))
        if version != self.version:
            file = io.BytesIO()
            Image.fromarray(self.canvas if kind == "picture" else self.map).save(file, "PNG", compress_level=1)
            version, data = self._encoded[kind] = self.version, file.getvalue()
        return data

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": f"{self.scene_id:08x}",
            "version": self.version,
            "columns": self.columns,
            "rows": self.rows,
            "tiles": self.total,
            "arrived": int(self.arrived.sum()),
            "image_size": list(self.image_size),
        }


def _colour(erased: float, psnr_db: float | None) -> Any:
    if erased >= 1:
        return LOST
    if erased > 0.5:
        return PART
    if psnr_db is None:
        return UNMEASURED
    share = min(1.0, max(0.0, (psnr_db - WORST_DB) / (BEST_DB - WORST_DB)))
    return WORST + share * (BEST - WORST)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
