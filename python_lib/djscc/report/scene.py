# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture of a scene as sent and as received at several points: ``python -m djscc.report.mosaic RUN --out FILE.png``.

For runs whose tiles, in order, make a square image, as the shipped Landsat sample does.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from djscc.campaign import RunLog
from djscc.campaign.plan import parse_ratio
from djscc.errors import DjsccError
from djscc.imagery import load_image, paste
from djscc.quality import summarise


class MosaicError(DjsccError):
    """A run that does not hold the pictures of a whole scene."""


def scene(folder: Path) -> NDArray[np.uint8]:
    """Put the tiles of a folder back together: a square image of them, row by row."""
    files = sorted(folder.glob("*.png"))
    side = math.isqrt(len(files))
    if not files or side * side != len(files):
        raise MosaicError(f"{folder}: {len(files)} pictures make no square; run the campaign with pictures: 64")
    tiles = np.stack([load_image(file) for file in files])
    return paste(tiles, side * tiles.shape[1], side * tiles.shape[2])


def draw(log: RunLog, points: Sequence[tuple[float, float]], out: Path) -> None:
    """Draw what was sent beside what arrived at each (ratio, Es/N0 in dB) of ``points``."""
    records = list(log.records())
    figure, axes = plt.subplots(1, 1 + len(points), figsize=(3.2 * (1 + len(points)), 3.7), layout="constrained")
    axes[0].imshow(scene(log.folder / "sent"))
    axes[0].set_title("sent", fontsize=11)
    for axis, (ratio, snr_db) in zip(axes[1:], points, strict=True):
        here = [r for r in records if abs(r["ratio"] - ratio) < 1e-4 and r.get("snr_db") == snr_db and r["received"]]
        here = [r for r in here if r["point"] == here[0]["point"]]
        if not here:
            raise MosaicError(f"{log.folder}: nothing was received at ratio {ratio:.4f} and {snr_db:g} dB")
        psnr = summarise([tile for record in here for tile in record["tiles"]])["psnr_db"]
        axis.imshow(scene(log.folder / "received" / here[0]["point"]))
        axis.set_title(f"k/n 1/{1 / ratio:.3g}, Es/N0 {snr_db:g} dB\nPSNR {psnr:.1f} dB", fontsize=11)
    for axis in axes:
        axis.axis("off")
    figure.savefig(out, dpi=110, bbox_inches="tight")
    plt.close(figure)


def _point(text: str) -> tuple[float, float]:
    ratio, _, snr = text.partition(":")
    try:
        return parse_ratio(ratio), float(snr)
    except ValueError as error:
        raise MosaicError(f"--points {text!r}: write it as RATIO:DB, such as 1/12:5") from error


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.report.mosaic", description=__doc__)
    parser.add_argument("run", help="run folder")
    parser.add_argument("--points", nargs="+", default=["1/12:-5", "1/12:5", "1/12:15"], metavar="RATIO:DB")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    arguments = parser.parse_args()
    try:
        points = [_point(text) for text in arguments.points]
        draw(RunLog(arguments.run, must_exist=True), points, arguments.out)
    except DjsccError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
