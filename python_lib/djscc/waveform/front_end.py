# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes out DC offset and IQ imbalance, of receiver and transmitter, without any known symbols.

The scrambled payload is proper and of zero mean: E[x] = E[x^2] = 0 at any carrier offset. What a frame shows of either is
the front end's. (First order in the imbalance; Valkama, Renfors and Koivunen, IEEE Trans. Signal Processing 49, 2001.)
Working range: images to -15 dB, DC to the level of the signal. Each estimate is shrunk by what chance alone would make of
it (James and Stein, 1961), so that a clean frame is left as it is.
"""

from __future__ import annotations

import numpy as np

from djscc.waveform.format import Complex


def _improper(values: Complex) -> complex:
    return complex(np.mean(values * values, dtype=np.complex128))


def _shrunk(estimate: complex, variance: float) -> np.complex64:
    return np.complex64(estimate * max(0.0, 1 - variance / max(abs(estimate) ** 2, 1e-30)))


def correct_samples(samples: Complex, scrambled: slice, samples_per_symbol: int) -> None:
    """Remove DC offset and IQ image from ``samples`` in place, as seen in their ``scrambled`` part."""
    part = samples[scrambled]
    independent = part.size / samples_per_symbol
    power = max(float(np.vdot(part, part).real) / part.size, 1e-30)
    dc = complex(np.mean(part, dtype=np.complex128))
    samples -= _shrunk(dc, power / independent)
    power = max(power - abs(dc) ** 2, 1e-30)
    image = _improper(part) / (2 * power)
    samples -= _shrunk(image, 1 / (2 * independent)) * samples.conj()


def correct_symbols(symbols: Complex) -> None:
    """Remove the transmitter's carrier leakage and image from equalised scrambled ``symbols`` of mean power 1, in place."""
    if symbols.size == 0:
        return
    power = float(np.vdot(symbols, symbols).real) / symbols.size
    symbols -= _shrunk(complex(np.mean(symbols, dtype=np.complex128)), power / symbols.size)
    symbols -= _shrunk(_improper(symbols) / 2, power**2 / (2 * symbols.size)) * symbols.conj()
