# SPDX-License-Identifier: GPL-3.0-or-later
"""A satellite pass over time: elevation, the SNR true and estimated, the quality of what arrived, and some of it."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from djscc.campaign import RunLog
from djscc.campaign.runlog import folder_of_frame
from djscc.imagery import load_image
from djscc.report.figures import COLOURS, STYLE, snr_label
from djscc.report.runs import ReportError, snr_text

THUMBNAILS = 9


@matplotlib.rc_context(STYLE)
def satellite_pass(log: RunLog) -> Figure:
    """The pass of one run; raises ReportError for a run that went over none."""
    records = list(log.records())
    got = [r for r in records if r["received"] and r.get("elevation_deg") is not None]
    if len(got) < 2:
        raise ReportError(
            f"{log.folder}: no frames of a satellite pass; run loopback with a channel such as leo-600km-x-band"
        )
    time = np.array([r["time_s"] for r in got])
    psnr = [np.mean([t["psnr_db"] for t in r["tiles"] if t.get("psnr_db") is not None] or [np.nan]) for r in got]
    figure = Figure(figsize=(11, 8.6), layout="constrained")
    grid = figure.add_gridspec(4, THUMBNAILS, height_ratios=[1, 1.6, 1.6, 1.25])
    elevation, snr, quality = axes = [figure.add_subplot(grid[i, :]) for i in range(3)]
    elevation.plot(time, [r["elevation_deg"] for r in got], color=COLOURS[0])
    elevation.set_ylabel("elevation (degrees)")
    snr.plot(time, [r["snr_est_db"] for r in got], ".", ms=3, color=COLOURS[5], label="estimated by the receiver")
    snr.plot(time, [r["snr_db"] for r in got], color=COLOURS[0], label="true, from the link budget")
    snr.set_ylabel(snr_label(False))
    snr.legend(frameon=False)
    quality.plot(time, psnr, ".", ms=3, color=COLOURS[1])
    quality.set_ylabel("PSNR of each frame (dB)")
    quality.set_xlabel(f"time in the run (s); {len(got)} of {len(records)} frames received")
    for panel in axes:
        panel.set_xlim(time[0], time[-1])
    for column, index in enumerate(np.linspace(0, len(got) - 1, THUMBNAILS).round().astype(int)):
        panel = figure.add_subplot(grid[3, column])
        panel.set_axis_off()
        record = got[index]
        name = folder_of_frame(record["point"], record["frame_number"])
        pictures = sorted((log.folder / "received" / name).glob("*.png"))
        if pictures:
            panel.imshow(load_image(pictures[0]))
        panel.set_title(
            f"{record['elevation_deg']:.0f}\N{DEGREE SIGN}  {snr_text(round(record['snr_db'], 1))}", fontsize=9
        )
    return figure
