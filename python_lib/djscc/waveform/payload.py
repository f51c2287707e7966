# SPDX-License-Identifier: GPL-3.0-or-later
"""The payload's order and shape on the air: interleaved over the frame, scrambled, and spread against peaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from djscc.waveform.format import SPREAD_SYMBOLS, Complex, interleaver, scrambler

_HADAMARD = (hadamard(SPREAD_SYMBOLS) / np.sqrt(SPREAD_SYMBOLS)).astype(np.complex64)  # its own inverse


def spread(symbols: Complex) -> Complex:
    """Each run of SPREAD_SYMBOLS through a Hadamard matrix, which is also the way back; a shorter rest is left as it is.

    The symbols of a learned codec have rare high peaks (its kurtosis is up to 6, where a Gaussian's is 2). Mixtures of 32
    of them, from all over the frame, are near Gaussian, whose peaks the back-off fits. What noise, fading or a loss does
    to neighbouring symbols on the air is the same for the whole run, so nothing is lost by it.
    """
    whole = symbols.size // SPREAD_SYMBOLS * SPREAD_SYMBOLS
    result = symbols.copy()
    result[:whole] = (symbols[:whole].reshape(-1, SPREAD_SYMBOLS) @ _HADAMARD).reshape(-1)
    return result


def to_air(payload: Complex, seed: int) -> Complex:
    """The payload (n,) in the order and shape in which it is sent."""
    return spread(payload[interleaver(payload.size, seed)] * scrambler(payload.size, seed))


def from_air(
    symbols: Complex, noise_variance: NDArray[np.float32], received: NDArray[np.bool_], seed: int
) -> tuple[Complex, NDArray[np.float32], NDArray[np.bool_]]:
    """The way back of equalised symbols, their noise variances and whether they were received (n,)."""
    size = symbols.size
    noise_variance, received = noise_variance.copy(), received.copy()
    whole = size // SPREAD_SYMBOLS * SPREAD_SYMBOLS
    runs = received[:whole].reshape(-1, SPREAD_SYMBOLS)
    runs[:] = runs.all(axis=1, keepdims=True)
    variances = noise_variance[:whole].reshape(-1, SPREAD_SYMBOLS)
    variances[:] = variances.mean(axis=1, keepdims=True)
    symbols = spread(symbols)
    symbols[~received] = 0
    order = interleaver(size, seed)
    back = np.empty(size, np.complex64), np.empty(size, np.float32), np.empty(size, bool)
    for out, values in zip(back, (symbols * scrambler(size, seed).conj(), noise_variance, received), strict=True):
        out[order] = values
    return back
