# SPDX-License-Identifier: GPL-3.0-or-later
"""A satellite pass over time, from a run that was sent through one: ``python -m djscc.report.satellite_pass RUN --out FILE.png``.

Elevation, true and estimated Es/N0, PSNR of each frame, and one tile as it arrived at several instants.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from djscc.campaign import RunLog
from djscc.errors import DjsccError
from djscc.imagery import load_image

THUMBNAILS = 9


class PassError(DjsccError):
    """A run that went over no satellite pass."""


def draw(log: RunLog, out: Path) -> None:
    """Draw the pass of ``log`` into a picture file."""
    records = list(log.records())
    got = [r for r in records if r["received"] and r.get("elevation_deg") is not None]
    if len(got) < 2:
        raise PassError(
            f"{log.folder}: no frames of a satellite pass; run loopback with a channel such as leo-600km-x-band"
        )
    time = np.array([r["time_s"] for r in got])
    psnr = [np.mean([t["psnr_db"] for t in r["tiles"]]) for r in got]
    figure = plt.figure(figsize=(11, 8.6), layout="constrained")
    grid = figure.add_gridspec(4, THUMBNAILS, height_ratios=[1, 1.6, 1.6, 1.25])
    axes = [figure.add_subplot(grid[i, :]) for i in range(3)]
    _curve(axes[0], time, got, "elevation_deg", "elevation")
    axes[0].set_ylabel("elevation (degrees)")
    axes[1].plot(time, [r["snr_est_db"] for r in got], ".", ms=3, color="#56b4e9", label="estimated by the receiver")
    _curve(axes[1], time, got, "snr_db", "true, from the link budget")
    axes[1].set_ylabel("Es/N0 (dB)")
    axes[1].legend(frameon=False)
    axes[2].plot(time, psnr, ".", ms=3, color="#d55e00")
    axes[2].set_ylabel("PSNR of each frame (dB)")
    axes[2].set_xlabel(f"time in the run (s); {len(got)} of {len(records)} frames received")
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.set_xlim(time[0], time[-1])
    for column, index in enumerate(np.linspace(0, len(got) - 1, THUMBNAILS).round().astype(int)):
        axis = figure.add_subplot(grid[3, column])
        axis.axis("off")
        record = got[index]
        pictures = sorted((log.folder / "received" / f"{record['point']}_f{record['frame_number']:05d}").glob("*.png"))
        if pictures:
            axis.imshow(load_image(pictures[0]))
        axis.set_title(f"{record['elevation_deg']:.0f}°  {record['snr_db']:.1f} dB", fontsize=9)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def _curve(axis: Any, time: Any, records: list[dict[str, Any]], key: str, label: str) -> None:
    axis.plot(time, [r[key] for r in records], color="#0072b2", label=label)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.report.satellite_pass", description=__doc__)
    parser.add_argument("run", help="run folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    arguments = parser.parse_args()
    try:
        draw(RunLog(arguments.run, must_exist=True), arguments.out)
    except DjsccError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
