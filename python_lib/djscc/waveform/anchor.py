# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrier and clock at the start of a frame from all that is known there once the header is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.format import BLOCK_SYMBOLS, PREAMBLE_SYMBOLS, Complex, Float
from djscc.waveform.matched_filter import MatchedFilter
from djscc.waveform.pulse import curvature, raised_cosine_slope
from djscc.waveform.synchronise import Synchronisation

_SEGMENT = 64
DRIFT_PRIOR = 40e-6  # of the delay by symbols: sample clocks some 50 ppm apart
_CLOCK = 60e-6  # more are no clocks
_ABSENT = 0.2  # of what known symbols usually explain: less is taken for nothing
_ABSENT_SEGMENTS = 3  # so many at the end of the known symbols, or it is a fade
_REACH = 24  # symbols of the pulse in the known slopes


@dataclass(frozen=True)
class Anchor:
    """The known symbols' carrier and delay, referred to their middle.

    start           instant of the preamble's first symbol in samples, refined.
    frequency       nominal carrier offset in cycles per sample, refined, for the whole frame.
    centre          middle of the known symbols, in symbols after the preamble's first.
    phase           carrier phase there in cycles, over that of the nominal frequency; phase_variance of it.
    rate_variance   of the frequency, in (cycles/symbol)^2.
    delay, drift    delay at the centre in symbols, over ``start``, and its slope by symbols; delay_normal, the matrix of
                    normal equations that they come from.
    snr             power of payload symbols over that of the noise.
    position, gain, energy  of segments of the known symbols: their middles, complex gains and energies.
    """

    start: float
    frequency: float
    centre: float
    phase: float
    phase_variance: float
    rate_variance: float
    delay: float
    drift: float
    delay_normal: Float
    snr: float
    position: Float
    gain: NDArray[np.complex128]
    energy: Float


def anchor(samples: Complex, sync: Synchronisation, known: Complex, matched: MatchedFilter) -> Anchor:
    """Refine a synchronisation by the ``known`` symbols (n,) at the start of the frame: preamble, pilots and header.

    Least squares on the phases of segments for the frequency, on the derivative for the delay. Where samples were lost within
    the header, what comes after is left out. Working range: that of ``synchronise``, sample clocks 50 ppm apart.
    """
    sps = matched.sps
    count = known.size // _SEGMENT
    size = count * _SEGMENT
    runs = -(-size // matched.run)
    starts = sync.start + sps * matched.run * np.arange(runs)
    symbols, slopes = (a.reshape(-1)[:size] for a in matched(samples, starts, sync.frequency, derivative=True))
    sent = known[:size]
    centres = (np.arange(count) + 0.5) * _SEGMENT - 0.5
    energy = np.sum(np.abs(sent.reshape(count, -1)) ** 2, axis=1).astype(np.float64)
    gains = (symbols * sent.conj()).reshape(count, -1).sum(axis=1).astype(np.complex128) / energy

    lost_at = _samples_lost(symbols, gains, energy)
    if lost_at is not None:
        return anchor(samples, sync, known[: lost_at * _SEGMENT], matched)

    middle = (size - 1) / 2
    phase, rate = _phase_line(gains, energy, centres - middle, sync.phase / (2 * np.pi))
    line = np.exp(2j * np.pi * (phase + rate * (centres - middle)))
    amplitude = float(abs(np.sum(gains * line.conj() * energy)) / energy.sum())

    residual = symbols - np.repeat(gains, _SEGMENT) * sent
    noise = max(float(np.sum(np.abs(residual) ** 2)) / (size - count), 1e-30)

    track = np.repeat(gains, _SEGMENT)
    floor = noise + 1e-4 * amplitude**2  # what the truncated pulse leaves counts as noise
    delay, drift, normal = _delay_line(slopes, track, sent, centres - middle, floor, matched.roll_off)

    if (
        size > PREAMBLE_SYMBOLS and abs(drift) > _CLOCK + 4 * np.linalg.inv(normal)[1, 1] ** 0.5
    ):  # a loss of a symbol or less
        return anchor(samples, sync, known[:PREAMBLE_SYMBOLS], matched)

    # Refer the segments' gains, taken at the old frequency, to the new one: its phase is 0 at sample 0 too.
    total = amplitude**2 * energy.sum() / noise
    frequency = sync.frequency + rate / sps
    instants = sync.start + sps * centres
    gains = gains * np.exp(-2j * np.pi * (frequency - sync.frequency) * instants)
    at_middle = phase - (frequency - sync.frequency) * (sync.start + sps * middle)
    groups = np.array_split(np.arange(count), max(1, round(size / BLOCK_SYMBOLS)))
    return Anchor(
        start=sync.start,
        frequency=frequency,
        centre=middle,
        phase=at_middle,
        phase_variance=1 / (2 * total) / (2 * np.pi) ** 2,
        rate_variance=6 / (total * size**2) / (2 * np.pi) ** 2,
        delay=float(np.clip(delay, -0.5, 0.5)),
        drift=drift,
        delay_normal=normal,
        snr=amplitude**2 / noise,
        position=np.array([centres[g].mean() for g in groups]),
        gain=np.array([np.sum(gains[g] * energy[g]) / energy[g].sum() for g in groups]),
        energy=np.array([energy[g].sum() for g in groups]),
    )


def _samples_lost(symbols: Complex, gains: NDArray[np.complex128], energy: Float) -> int | None:
    """The segment from which on to the end the known symbols explain next to nothing, because samples were lost there; None if
    there is none such. The preamble, which was found, is always kept."""
    share = np.abs(gains) ** 2 * energy / np.sum(np.abs(symbols.reshape(gains.size, -1)) ** 2, axis=1)
    preamble = PREAMBLE_SYMBOLS // _SEGMENT
    present = np.flatnonzero(share > max(_ABSENT * float(np.median(share[:preamble])), 4 / _SEGMENT))
    last = int(present[-1]) + 1 if present.size else gains.size
    return max(last, preamble) if gains.size - last >= _ABSENT_SEGMENTS and last < gains.size else None


def _phase_line(gains: NDArray[np.complex128], energy: Float, position: Float, phase: float) -> tuple[float, float]:
    """Phase in cycles at position 0 and its slope by symbols: least squares, from ``phase`` on."""
    rate = 0.0
    design = np.stack([np.ones(position.size), position], axis=1)
    for _ in range(3):  # the last has no wraps
        turned = gains * np.exp(-2j * np.pi * (phase + rate * position))
        reference = float(np.angle(np.sum(turned * energy))) / (2 * np.pi)
        residue = np.angle(turned * np.exp(-2j * np.pi * reference)) / (2 * np.pi)
        weight = np.abs(turned) * energy
        step = np.linalg.lstsq(design * weight[:, None], residue * weight, rcond=None)[0]
        phase, rate = phase + reference + float(step[0]), rate + float(step[1])
    return phase, rate


def _delay_line(
    slopes: Complex, track: NDArray[np.complex128], sent: Complex, position: Float, noise: float, roll_off: float
) -> tuple[float, float, Float]:
    """Delay in symbols at position 0, its slope by symbols, and the matrix of their normal equations.

    From the derivative at the known symbols, less what these give themselves without delay, on their curvature. The first
    and last segment are left out: the pulse of what is unknown beyond them reaches into them.
    """
    count = position.size
    kernel = raised_cosine_slope(np.arange(-_REACH, _REACH + 1), roll_off)
    own = np.convolve(sent, kernel)[_REACH : _REACH + sent.size]
    error = ((slopes - track * own) * (track * sent).conj()).real.reshape(count, -1).sum(axis=1)[1:-1]
    bend = curvature(roll_off) * float(np.sum(np.abs(track * sent) ** 2)) / count
    lateness, inside = error / bend, position[1:-1]
    weight = 2 * bend / noise
    normal = weight * np.array([[inside.size, inside.sum()], [inside.sum(), np.sum(inside**2)]])
    right = weight * np.array([lateness.sum(), np.sum(lateness * inside)])
    delay, drift = np.linalg.solve(normal + np.diag([0, 1 / DRIFT_PRIOR**2]), right)
    return float(delay), float(drift), normal
