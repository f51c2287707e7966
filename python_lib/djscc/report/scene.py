# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene as sent and as received at several points, side by side.

For runs whose tiles, in order, make a square image, as the shipped Landsat sample does.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from djscc.campaign import RunLog
from djscc.campaign.reception import MISSING
from djscc.imagery import load_image, paste
from djscc.quality import summarise
from djscc.report.figures import STYLE
from djscc.report.runs import ReportError, ratio_text, snr_text


def whole(folder: Path, count: int, lost: Collection[int] = ()) -> NDArray[np.uint8]:
    """Put the ``count`` tiles of a folder back together: a square image of them, row by row; those ``lost`` stay grey."""
    files = {index: folder / f"{index:05d}.png" for index in range(count) if index not in lost}
    there = [file for file in files.values() if file.is_file()]
    side = math.isqrt(count)
    if not there or len(there) < len(files):
        raise ReportError(
            f"{folder}: {len(there)} pictures of {len(files)} tiles; run the campaign with pictures: {count}"
        )
    if side * side != count:
        raise ReportError(f"{folder}: {count} tiles make no square image; the scene is drawn of runs whose tiles do")
    images = {index: load_image(file) for index, file in files.items()}
    tiles = np.full((count, *next(iter(images.values())).shape), MISSING, np.uint8)
    for index, image in images.items():
        tiles[index] = image
    return paste(tiles, side * tiles.shape[1], side * tiles.shape[2])


@matplotlib.rc_context(STYLE)
def scene(log: RunLog, points: Sequence[tuple[float, float]]) -> Figure:
    """What was sent beside what arrived at each (ratio, Es/N0 in dB) of ``points``."""
    records = list(log.records())
    figure = Figure(figsize=(3.2 * (1 + len(points)), 3.8), layout=ConstrainedLayoutEngine(h_pad=0.08))
    panels = figure.subplots(1, 1 + len(points), squeeze=False)[0]
    count = 1 + max((tile["index"] for record in records for tile in record["tiles"]), default=-1)
    panels[0].imshow(whole(log.folder / "sent", count))
    panels[0].set_title("sent")
    for axes, (ratio, snr_db) in zip(panels[1:], points, strict=True):
        here = [r for r in records if abs(r["ratio"] - ratio) < 1e-4 and r.get("snr_db") == snr_db and r["received"]]
        if not here:
            raise ReportError(f"{log.folder}: nothing was received at ratio {ratio_text(ratio)} and {snr_db:g} dB")
        here = [r for r in here if r["point"] == here[0]["point"]]
        lost = set(range(count)) - {tile["index"] for record in here for tile in record["tiles"]}
        psnr = summarise([tile for record in here for tile in record["tiles"]]).get("psnr_db")
        axes.imshow(whole(log.folder / "received" / here[0]["point"], count, lost))
        quality = "" if psnr is None else f"\nPSNR {psnr:.1f} dB"
        axes.set_title(f"k/n {ratio_text(ratio)}, Es/N0 {snr_text(snr_db)}{quality}")
    for axes in panels:
        axes.set_axis_off()
        axes.set_anchor("N")
    return figure
