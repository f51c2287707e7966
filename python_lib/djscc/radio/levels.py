# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transmission amounts to before it is sent: bandwidth, duration, peak and mean power over full scale, clipping."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from djscc.radio.settings import RadioSettings
from djscc.waveform import WaveformSettings

_SEGMENT = 1024
_SHARE = 0.99  # of the power, within the occupied bandwidth (ITU-R SM.328)


class Levels:
    """Sums up frames of samples; full scale is an envelope of 1, 0 dBFS."""

    def __init__(self, settings: WaveformSettings) -> None:
        self._settings = settings
        self.frames = self._samples = self._silence = self._clipped = 0
        self._energy = self._peak = 0.0
        self._spectrum = np.zeros(_SEGMENT)

    def add(self, samples: NDArray[np.complex64]) -> None:
        """One frame."""
        power = samples.real.astype(np.float64) ** 2 + samples.imag.astype(np.float64) ** 2
        self.frames += 1
        self._samples += len(samples)
        self._energy += float(power.sum())
        self._peak = max(self._peak, float(power.max()))
        self._clipped += int(np.count_nonzero(power > 1 - 1e-6))
        _, density = scipy.signal.welch(samples, nperseg=_SEGMENT, return_onesided=False, detrend=False)
        self._spectrum += density * len(samples)

    def add_silence(self, samples: int) -> None:
        """What is sent of nothing, at the end and to fill up frames."""
        self._silence += samples

    def result(self) -> dict[str, Any]:
        """The figures, by name."""
        density = np.fft.fftshift(self._spectrum)
        shares = np.cumsum(density) / max(float(density.sum()), 1e-30)
        low, high = np.searchsorted(shares, [(1 - _SHARE) / 2, (1 + _SHARE) / 2])
        rate = self._settings.sample_rate
        return {
            "samples": self._samples + self._silence,
            "duration_s": (self._samples + self._silence) / rate,
            "bandwidth_hz": self._settings.symbol_rate * (1 + self._settings.roll_off),
            "occupied_bandwidth_hz": float((high - low + 1) * rate / _SEGMENT),
            "sample_rate": rate,
            "peak_dbfs": _db(self._peak),
            "mean_dbfs": _db(self._energy / max(self._samples, 1)),
            "back_off_db": self._settings.back_off_db,
            "clipped": self._clipped / max(self._samples, 1),
        }

    def rows(self, sink: str, radio: RadioSettings, images: int, repeat: int) -> list[str]:
        """The same as text."""
        values = self.result()
        times = {0: ", again and again until Ctrl-C", 1: ""}.get(repeat, f", {repeat} times")
        settings = ", ".join(
            f"{k} {v:.10g}" if isinstance(v, float | int) else f"{k} {v}" for k, v in radio.to_dict().items()
        )
        return [
            f"nothing is sent; {sink} would get:",
            f"  {self.frames} frames of {images} images, {values['duration_s']:.6g} s{times}"
            if images
            else f"  {self.frames} test frames, {values['duration_s']:.6g} s{times}",
            f"  {values['samples']} samples at {values['sample_rate']:.10g} per second",
            f"  bandwidth {values['bandwidth_hz']:.6g} Hz, 99 % of the power within {values['occupied_bandwidth_hz']:.6g} Hz",
            f"  peak {values['peak_dbfs']:.2f} dBFS, mean {values['mean_dbfs']:.2f} dBFS (back-off {values['back_off_db']:g} dB), "
            f"{100 * values['clipped']:.3g} % of the samples clipped",
            f"  radio: {settings or 'nothing set'}",
        ]


def _db(power: float) -> float:
    return round(10 * float(np.log10(max(power, 1e-30))), 3)
