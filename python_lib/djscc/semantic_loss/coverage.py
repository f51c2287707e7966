# SPDX-License-Identifier: GPL-3.0-or-later
"""How far to trust a fit: what of the plane the log lacks, and which parameters it does not tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from djscc.semantic_loss.cells import Cells
from djscc.semantic_loss.fit import distinct
from djscc.semantic_loss.forms import Form

Array = NDArray[np.float64]

INTERVAL = (2.5, 97.5)  # per cent
SNR_SCATTER_DB = 0.4  # above the receiver's own estimation error over a frame


def varies(cells: Cells) -> bool:
    """Whether the loss changes over the plane by more than its sampling error."""
    return bool(np.ptp(cells.loss) >= 4 * float(np.median(cells.sigma)))


def coverage_warnings(cells: Cells) -> list[str]:
    """What the log lacks for a surface over the plane."""
    warnings = []
    ratios, snrs = distinct(cells)
    if ratios < 3:
        warnings.append(f"only {ratios} ratio(s) were measured; run at least 3 for a surface over ratio")
    elif cells.ratio.max() < 3 * cells.ratio.min():
        warnings.append("the ratios span less than a factor of 3; the exponent over ratio is a local one")
    if snrs < 4:
        warnings.append(f"only {snrs} SNR(s) were measured; run at least 4 for a surface over SNR")
    elif np.ptp(cells.snr_db) < 6:
        warnings.append(f"the SNRs span {np.ptp(cells.snr_db):.1f} dB; run at least 6 dB for a surface over SNR")
    if not cells.snr_is_estimated and len(cells) < ratios * snrs:
        warnings.append(f"{ratios * snrs - len(cells)} of {ratios * snrs} points of the grid have no data")
    if not cells.snr_is_estimated and (few := int((cells.tiles < 0.9 * cells.tiles.max()).sum())):
        warnings.append(
            f"{few} of {len(cells)} points hold fewer tiles than the others ({cells.tiles.min():.0f} of {cells.tiles.max():.0f}): "
            "their means are of other tiles; let the campaign finish"
        )
    if cells.snr_is_estimated:
        warnings.append("true SNRs are not known: the fit is over the receiver's estimates, in cells of 1 dB")
    if cells.snr_scatter_db > SNR_SCATTER_DB:
        warnings.append(
            f"from point to point the receiver's SNR strays from the channel's mean by {cells.snr_scatter_db:.1f} dB: each point "
            "met only a few fades, which the intervals, made of tiles, do not count; send more frames or seeds a point"
        )
    if cells.not_received:
        warnings.append(
            f"{cells.not_received} tiles of lost frames have no loss: the fit is of tiles that were received"
        )
    if not varies(cells):
        warnings.append("the loss hardly changes over the plane: its spread is within the sampling error")
    return warnings


def unidentified(form: Form, draws: Array, scale: float) -> list[str]:
    """Parameters whose interval is so wide that the log does not tell them: a factor of 10 (log), the largest measured loss
    (levels), half of the allowed range (linear)."""
    warnings = []
    for p, low, high in zip(form.parameters, *np.percentile(draws, INTERVAL, axis=0), strict=True):
        allowed = scale if p.scale == "level" else 0.5 * (p.high - p.low)
        wide = high > 10 * low if p.scale == "log" else high - low > allowed
        if wide:
            warnings.append(
                f"parameter {p.name} ({p.meaning}) is not identified: 95 % interval {low:.3g} to {high:.3g}; "
                "trust the curve within the measured range, not this number"
            )
    return warnings
