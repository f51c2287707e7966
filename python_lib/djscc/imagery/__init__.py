# SPDX-License-Identifier: GPL-3.0-or-later
"""Earth-observation images in and out: folders of tiles, whole images cut into tiles and put together again."""

from djscc.imagery.folders import ImageError, TileSet, as_shown, load_image, load_tiles
from djscc.imagery.tiling import cut, paste

__all__ = ["ImageError", "TileSet", "as_shown", "cut", "load_image", "load_tiles", "paste"]
