# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame's record in short: its numbers with the means over its tiles, and those in a line for a window or the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

ESTIMATES = ("snr_est_db", "cfo_hz", "clock_ppm", "erased")
QUALITIES = ("psnr_db", "ssim", "ms_ssim", "lpips")
SHOWN = {"snr_est_db": "Es/N0 {:.1f} dB", "cfo_hz": "CFO {:.0f} Hz", "psnr_db": "PSNR {:.2f} dB", "ssim": "SSIM {:.3f}"}


def means(record: Mapping[str, Any]) -> dict[str, float]:
    """The receiver's estimates in a record of FrameSink, and the mean of each metric over the tiles."""
    values = {key: float(record[key]) for key in ESTIMATES if record.get(key) is not None}
    for key in QUALITIES:
        measured = [tile[key] for tile in record.get("tiles", ()) if key in tile]
        if measured:
            values[key] = float(np.mean(measured))
    return values


def in_a_line(frame_number: int, values: Mapping[str, Any]) -> str:
    """``frame 3, Es/N0 9.8 dB, ...`` with those of the values that are there."""
    return ", ".join(
        [f"frame {frame_number}", *(text.format(values[key]) for key, text in SHOWN.items() if key in values)]
    )
