# SPDX-License-Identifier: GPL-3.0-or-later
"""What radio hardware does to a signal: amplifiers, I/Q imbalance, carrier leak, converters.

Each acts sample by sample and needs to know the rms level that it was set up for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.channels.hardware_parameters import FrontEnd, Rapp, Saleh
from djscc.channels.streams import Complex, Stage

SALEH_GAIN, SALEH_GAIN_BEND, SALEH_PHASE, SALEH_PHASE_BEND = 2.1587, 1.1517, 4.0033, 9.1040


def amplifier_gain(amplifier: Saleh | Rapp, power: Any) -> tuple[Any, Any]:
    """Amplitude gain over that of small signals, and phase in radians, at an input ``power`` relative to saturation.

    ``power`` is an array of numpy or of torch, and so is what is returned.

    Saturation is where Saleh's output is largest (r^2 = 1 / 1.1517), and where Rapp's two asymptotes meet.
    """
    if isinstance(amplifier, Saleh):
        square = power / SALEH_GAIN_BEND
        return 1 / (1 + power), SALEH_PHASE * square / (1 + SALEH_PHASE_BEND * square)
    return (1 + power**amplifier.smoothness) ** (-0.5 / amplifier.smoothness), 0 * power


def useful_gain(amplifier: Saleh | Rapp) -> complex:
    """Complex gain E[y x*] / E|x|^2 for a circular Gaussian signal at the amplifier's back-off (Bussgang).

    The rest of the output is uncorrelated with the input: distortion.
    """
    power, weight = np.polynomial.laguerre.laggauss(64)  # the power of such a signal is exponentially distributed
    gain, phase = amplifier_gain(amplifier, power * 10 ** (-amplifier.backoff_db / 10))
    return complex(np.sum(weight * power * gain * np.exp(1j * phase)))


class AmplifierStage(Stage):
    """An amplifier driven by a signal of mean power ``signal_power``, with the useful gain divided out.

    So the useful signal keeps its level and phase, Es/N0 counts the useful signal alone, and distortion comes on top. The
    gain is read from a table over the power, linearly interpolated, which is within -90 dB of the formula.
    """

    SIZE = 4096
    LIMIT = 40.0  # largest power in the table over the mean: a circular Gaussian exceeds it once in e^40

    def __init__(self, amplifier: Saleh | Rapp, signal_power: float) -> None:
        amplitude = np.arange(self.SIZE + 2) * np.sqrt(self.LIMIT) / self.SIZE
        gain, phase = amplifier_gain(amplifier, amplitude**2 * 10 ** (-amplifier.backoff_db / 10))
        self._table = (gain * np.exp(1j * phase) / useful_gain(amplifier)).astype(np.complex64)
        self._step = np.diff(self._table)
        self._scale = np.float32(self.SIZE / np.sqrt(self.LIMIT * signal_power))

    def push(self, samples: Complex) -> Complex:
        """Amplify."""
        place = np.minimum(np.abs(samples) * self._scale, np.float32(self.SIZE))
        whole = np.floor(place)
        index = whole.astype(np.int32)
        return samples * (self._table[index] + self._step[index] * (place - whole))


class IqStage(Stage):
    """I/Q imbalance, y = x + image x* scaled to keep the wanted part, and a constant (or leaked carrier).

    With g = 10^(-dB/20), the gain of Q over that of I, and phase error p, direct = (1 + g e^(-jp)) / 2 and
    image = (1 - g e^(jp)) / 2 up to the common scale; the image rejection is |direct / image|^2.
    """

    def __init__(self, radio: FrontEnd, power: float) -> None:
        skew = 10 ** (-radio.iq_gain_db / 20) * np.exp(1j * np.radians(radio.iq_phase_deg))
        self._image = np.complex64((1 - skew) / (1 + np.conj(skew)))
        self._constant = np.complex64(0 if radio.dc_dbc is None else np.sqrt(power * 10 ** (radio.dc_dbc / 10)))

    def push(self, samples: Complex) -> Complex:
        """Add image and constant."""
        return samples + self._image * samples.conj() + self._constant


class Converter(Stage):
    """Quantisation to ``bits`` on I and on Q, with clipping at a full scale ``headroom_db`` over the rms of one of them."""

    def __init__(self, bits: int, headroom_db: float, power: float) -> None:
        full_scale = np.sqrt(power / 2) * 10 ** (headroom_db / 20)
        self._step = np.float32(full_scale / 2 ** (bits - 1))
        self._top = np.float32(2 ** (bits - 1) - 0.5)

    def push(self, samples: Complex) -> Complex:
        """Quantise (mid-rise: the levels are odd multiples of half a step)."""
        parts: NDArray[np.float32] = np.ascontiguousarray(samples).view(np.float32) / self._step
        np.floor(parts, out=parts)
        parts += np.float32(0.5)
        np.clip(parts, -self._top, self._top, out=parts)
        parts *= self._step
        return parts.view(np.complex64)
