# SPDX-License-Identifier: GPL-3.0-or-later
"""Send frames of tiles over the digital link: each frame's tiles as one mosaic, coded to what its channel symbols carry.

A mosaic lets the image codec share its headers and move bits from flat tiles to busy ones; coded one by one, tiles of 64 x 64
would fit no budget worth the name. The link is ideal: at an Es/N0 where the MODCOD closes everything arrives, below nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from djscc.digital.image_codecs import AVIF_SPEED, BudgetEncoder, decode
from djscc.digital.modcods import byte_budget
from djscc.imagery import cut, paste


@dataclass(frozen=True)
class DigitalFrame:
    """What became of one frame: ``decoded`` uint8 (N, H, W, 3), None where the link does not close or the budget is too small
    for the image codec; bytes that the channel symbols carry, and that were used."""

    decoded: NDArray[np.uint8] | None
    budget: int
    used: int


def mosaic(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Square tiles (N, H, H, C) as one image, eight by eight for 64 of them; a last row that is not full repeats the last tile."""
    columns = math.isqrt(len(tiles) - 1) + 1
    rows = -(-len(tiles) // columns)
    filled = np.concatenate([tiles, np.repeat(tiles[-1:], rows * columns - len(tiles), axis=0)])
    side = tiles.shape[1]
    return paste(filled, rows * side, columns * side)


def send(
    tiles: NDArray[np.uint8],
    image_codec: str,
    points: list[tuple[float, float]],
    tiles_per_frame: int = 64,
    avif_speed: int = AVIF_SPEED,
) -> Iterator[list[DigitalFrame]]:
    """Send (N, H, H, 3) tiles at each of ``points``, (ratio k/n, Es/N0 in dB); yields for each frame what arrived at each point."""
    for start in range(0, len(tiles), tiles_per_frame):
        part = tiles[start : start + tiles_per_frame]
        encoder = BudgetEncoder(mosaic(part), image_codec, avif_speed)
        take = partial(_frame, part, encoder)
        yield [take(byte_budget(round(ratio * part.size), snr_db)) for ratio, snr_db in points]


def _frame(tiles: NDArray[np.uint8], encoder: BudgetEncoder, budget: int) -> DigitalFrame:
    data = encoder.encode(budget) if budget else None
    if data is None:
        return DigitalFrame(None, budget, 0)
    return DigitalFrame(cut(decode(data), tiles.shape[1])[: len(tiles)], budget, len(data))
