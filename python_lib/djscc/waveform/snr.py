# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise power along a frame and the frame's SNR, from known symbols and the payload's power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.format import PILOT_SYMBOLS, Float

_UNSTEADY = 0.1  # by which the power of a channel may vary that seems steady
_LOCAL = 16  # pilot blocks on either side that the noise power of a block is averaged over


@dataclass(frozen=True)
class Noise:
    """Noise power of a symbol at the matched filter's output: over the frame, its variance, and around each block."""

    power: float
    variance: float
    local: Float


def noise_power(blocks: Float, good: NDArray[np.bool_], header_error: float, header_symbols: int) -> Noise:
    """From each pilot block's residue per free symbol, ``blocks`` (n,), where ``good``, and the header's summed error."""
    free = int(np.count_nonzero(good)) * (PILOT_SYMBOLS - 1)
    power = (float(np.sum(blocks[good])) * (PILOT_SYMBOLS - 1) + header_error) / (free + header_symbols)
    power = max(power, 1e-30)
    total = np.concatenate([[0.0], np.cumsum(np.where(good, blocks, power))])
    index = np.arange(blocks.size)
    high, low = np.minimum(index + _LOCAL + 1, blocks.size), np.maximum(index - _LOCAL, 0)
    local = np.maximum((total[high] - total[low]) / (high - low), 1e-30)
    return Noise(power, power**2 / (free + header_symbols), local)


def signal_power(
    *,
    level: float,
    level_energy: float,
    start_level: float,
    start_energy: float,
    steady: bool,
    payload_power: float,
    payload_symbols: int,
    noise: Noise,
) -> float:
    """Power of the payload's signal from up to three estimates, each weighted by its inverse variance.

    ``level`` is the channel's mean power from pilots of ``level_energy`` symbols, noise bias removed; ``start_level`` the
    same at the frame's start, of use where the channel is ``steady``. The third is the payload's power less the noise, which
    helps where pilots are weak. Working range of the SNR made of it: -10 to 30 dB.
    """
    assumed = max(level, 0.1 * noise.power)
    estimates = [level, payload_power - noise.power]
    variances = [
        2 * assumed * noise.power / level_energy,
        noise.variance + payload_power**2 / max(payload_symbols, 1),
    ]
    if steady:
        estimates.append(start_level)
        variances.append(2 * assumed * noise.power / start_energy + (_UNSTEADY * assumed) ** 2)
    weight = 1 / np.maximum(variances, 1e-30)
    return max(float(np.dot(weight, estimates) / np.sum(weight)), 1e-3 * noise.power)
