# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiles as a message: a PDU of a dict that says what they are, and their pixels. encoder_source and decoder_sink send it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from djscc.waveform import FrameHeader

from .frame_tags import to_pmt

IMAGE = pmt.intern("image")  # the port


def image_message(header: FrameHeader, tiles: NDArray[np.uint8], values: Mapping[str, float]) -> Any:
    """The message of a frame's tiles (N, H, W, C); ``values`` are shown with them."""
    about = {
        **values,
        "frame_number": header.frame_number,
        "tile_index": header.tile_index,
        "tiles_total": header.tiles_total,
        "shape": list(tiles.shape),
        "image_height": header.image_height,
        "image_width": header.image_width,
    }
    return pmt.cons(to_pmt(about), pmt.init_u8vector(tiles.size, tiles.reshape(-1).tolist()))


def read_image_message(message: Any) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """The description and the tiles in a message."""
    about = pmt.to_python(pmt.car(message))
    return about, np.array(pmt.u8vector_elements(pmt.cdr(message)), np.uint8).reshape(about["shape"])
