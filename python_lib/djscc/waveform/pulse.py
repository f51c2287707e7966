# SPDX-License-Identifier: GPL-3.0-or-later
"""The raised-cosine pulse after the matched filter: its slope and curvature, by which delay shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.format import Float, Integer, rrc_response


def raised_cosine_slope(lags: Integer, roll_off: float) -> Float:
    """Derivative of the raised-cosine pulse at whole symbols ``lags``, per symbol."""
    t = np.where(lags == 0, 1, lags).astype(np.float64)
    bend = 1 - (2 * roll_off * t) ** 2
    singular = np.abs(bend) < 1e-9  # there cos(pi a t) / bend tends to pi / 4
    ratio = np.where(singular, np.pi / 4, np.cos(np.pi * roll_off * t) / np.where(singular, 1, bend))
    return np.where(lags == 0, 0.0, np.cos(np.pi * t) / t * ratio)


def slope_matrix(at: Integer, sent: Integer, roll_off: float) -> Float:
    """What a symbol sent at ``sent`` (m,) adds to the derivative at ``at`` (n,), as (n, m)."""
    return raised_cosine_slope(np.subtract.outer(at, sent), roll_off)


def curvature(roll_off: float) -> float:
    """Minus the second derivative of the raised-cosine pulse at its top, per symbol^2."""
    frequency = (np.arange(60000) + 0.5) / 40000 - 0.75
    return float(np.sum(rrc_response(frequency, roll_off) ** 2 * (2 * np.pi * frequency) ** 2) / 40000)


def vertex(values: Sequence[float] | NDArray[np.floating[Any]], peak: int) -> float:
    """Where between the neighbours of a peak the parabola through the three is highest, -0.5 to 0.5."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, at, after = (float(v) for v in values[peak - 1 : peak + 2])
    bend = before - 2 * at + after
    return min(max((before - after) / (2 * bend), -0.5), 0.5) if bend < 0 else 0.0
