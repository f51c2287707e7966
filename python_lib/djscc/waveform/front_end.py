# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes out DC offset and IQ imbalance, of receiver and transmitter, without any known symbols.

The scrambled payload is proper and of zero mean: E[x] = E[x^2] = 0 at any carrier offset. What a frame shows of either is
the front end's. (First order in the imbalance; Valkama, Renfors and Koivunen, IEEE Trans. Signal Processing 49, 2001.)
Working range: images to -15 dB, DC to the level of the signal. Each estimate is shrunk by what chance alone would make of
it (James and Stein, 1961), so that a clean frame is left as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.format import Complex


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
    image = complex(np.mean(part * part, dtype=np.complex128)) / (2 * power)
    samples -= _shrunk(image, 1 / (2 * independent)) * samples.conj()


def correct_symbols(symbols: Complex, noise_variance: NDArray[np.float32]) -> None:
    """Remove the transmitter's carrier leakage and image from equalised scrambled ``symbols`` of mean power 1, in place.

    Each symbol counts by the inverse variance of what it says (leakage: of x, image: of x^2), so that a faded stretch, whose
    symbols are little but amplified noise, tells nothing. ``noise_variance`` is infinite where nothing was received.
    """
    weight = 1 / (1 + noise_variance.astype(np.float64))
    if (total := float(weight.sum())) <= 0:
        return
    symbols -= _shrunk(complex(weight @ symbols) / total, 1 / total)
    weight *= weight
    total = float(weight.sum())
    symbols -= _shrunk(complex(weight @ (symbols * symbols)) / (2 * total), 1 / (2 * total)) * symbols.conj()
