# SPDX-License-Identifier: GPL-3.0-or-later
"""From the samples of a frame whose header is known to its equalised payload symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.anchor import DRIFT_PRIOR, Anchor, anchor
from djscc.waveform.format import (
    BLOCK_SYMBOLS,
    DATA_SYMBOLS,
    PILOT_SYMBOLS,
    PREAMBLE_SYMBOLS,
    TAIL_SYMBOLS,
    Complex,
    Float,
    data_blocks,
    frame_symbols,
    pilots,
    tail_pilots,
)
from djscc.waveform.front_end import correct_symbols
from djscc.waveform.gain import SmoothGain, smooth_gain
from djscc.waveform.matched_filter import MatchedFilter
from djscc.waveform.modulator import compose
from djscc.waveform.phase import PhaseCurve
from djscc.waveform.snr import Noise, noise_power, signal_power
from djscc.waveform.synchronise import Synchronisation
from djscc.waveform.tracking import PilotTracker, Track, fall

_RINGING = 4  # symbols on either side of a gap that lack part of their pulse
_MARGIN = 8  # symbols before a frame's end from which the next may be searched for


@dataclass(frozen=True)
class Equalised:
    """Payload as on the air (still interleaved and scrambled), and what was estimated on the way.

    start           instant of the preamble's first symbol, in samples; phase of the carrier there, in radians.
    frequency, frequency_rate  at the middle of what arrived of the frame, in cycles/sample and cycles/sample^2.
    power           of the payload's signal at the matched filter's output.
    end             sample from which the next frame may be searched for.
    truncated       whether the signal ended before the frame did.
    stages          inner signals of each stage, by name.
    """

    symbols: Complex
    noise_variance: NDArray[np.float32]
    received: NDArray[np.bool_]
    start: float
    phase: float
    frequency: float
    frequency_rate: float
    clock_ppm: float
    power: float
    snr_db: float
    lost_samples: int
    end: float
    truncated: bool
    stages: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _Resampled:
    """Symbols after the preamble in blocks (n, BLOCK_SYMBOLS), and of the tail, at the tracked instants."""

    blocks: Complex
    tail: Complex


def equalise(
    samples: Complex,
    sync: Synchronisation,
    header: Complex,
    payload_symbols: int,
    matched: MatchedFilter,
    tracker: PilotTracker,
    available: int | None = None,
    silent: Sequence[tuple[int, int]] = (),
) -> Equalised:
    """Track, resample and equalise the frame in ``samples``, whose ``header`` symbols are known by now.

    ``available`` is how many blocks the samples hold where the stream ended within the frame (more than the header's).
    ``silent`` are stretches of the samples that were lost for certain and stand there as zeros. ``matched`` takes runs of
    half a block. Working range: flat channels, as tracked by ``tracker``.
    """
    data_symbols = header.size + payload_symbols
    blocks = data_blocks(data_symbols)
    total = frame_symbols(data_symbols)
    block_at = PREAMBLE_SYMBOLS + BLOCK_SYMBOLS * np.arange(blocks)
    header_blocks = data_blocks(header.size)  # their pilots are among the known symbols of the anchor

    base = anchor(samples, sync, compose(header)[:-TAIL_SYMBOLS], matched)
    track = tracker(samples, base, min(header_blocks, blocks - 1), blocks, total - TAIL_SYMBOLS)
    whole, truncated = _whole_blocks(base, track, blocks)
    if available is not None and available < whole:
        whole, truncated = available, True
    if truncated:
        track = track.until(whole)
    offset, slope = _fit_delay(base, track)
    start, spacing = base.start + offset * matched.sps, matched.sps * (1 + slope)
    curve = PhaseCurve(base, track)
    taken = _resample(samples, base.frequency, start, spacing, track, block_at, total - TAIL_SYMBOLS, matched)

    pilot = pilots(blocks)
    turned = taken.blocks * curve.back_blocks(block_at)
    at_pilots = turned[:, :PILOT_SYMBOLS]
    gains = (at_pilots * pilot.conj()).mean(axis=1)
    residue = np.sum(np.abs(at_pilots - gains[:, None] * pilot) ** 2, axis=1).astype(np.float64) / (PILOT_SYMBOLS - 1)
    number = np.arange(blocks)
    good = (number < whole) & ~track.erased
    for first, last in silent:
        block_start = start + spacing * block_at - track.slip
        good &= (block_start + spacing * (BLOCK_SYMBOLS + _RINGING) < first) | (block_start - spacing * _RINGING > last)
    used = np.flatnonzero(good & (number >= header_blocks))
    pilot_at = block_at[used] + (PILOT_SYMBOLS - 1) / 2
    tail_at = total - TAIL_SYMBOLS + np.arange(0 if truncated else TAIL_SYMBOLS)
    noise_there = float(np.mean(residue[good])) if good.any() else 1.0
    smooth = _smooth(base, curve, pilot_at, gains[used], tail_at, taken.tail, noise_there)

    # Gain at every symbol: straight lines over the blocks.
    start_gain = np.interp(block_at, smooth.position, smooth.gain).astype(np.complex64)
    end_gain = np.interp(block_at + BLOCK_SYMBOLS, smooth.position, smooth.gain).astype(np.complex64)
    along = (np.arange(BLOCK_SYMBOLS, dtype=np.float32) / BLOCK_SYMBOLS)[PILOT_SYMBOLS:]
    factor = (start_gain[:, None] + (end_gain - start_gain)[:, None] * along).reshape(-1)[:data_symbols]
    data = turned[:, PILOT_SYMBOLS:].reshape(-1)[:data_symbols]

    block_of = np.arange(data_symbols) // DATA_SYMBOLS
    header_error = (data[: header.size] - factor[: header.size] * header)[good[block_of[: header.size]]]
    noise = noise_power(residue, good, float(np.sum(np.abs(header_error) ** 2)), header_error.size)
    block_of = block_of[header.size :]
    factor, payload = factor[header.size :], data[header.size :]
    level = np.maximum(factor.real**2 + factor.imag**2, np.float32(1e-30))
    received = good[block_of]
    own = np.interp(block_at, smooth.position, smooth.variance)  # of the gain, over a symbol's noise
    power = _power(base, smooth, level, own, good, payload, received, noise) if received.any() else 0.0

    symbols = (payload * factor.conj() / level).astype(np.complex64)
    noise_variance = ((noise.local * (1 + own)).astype(np.float32)[block_of] / level).astype(np.float32)
    noise_variance[~received] = np.inf
    symbols[~received] = 0
    correct_symbols(symbols, noise_variance)
    symbols[~received] = 0
    end_symbol = block_at[whole] if truncated else total - _MARGIN
    rate, acceleration = curve.rates(end_symbol / 2)
    return Equalised(
        symbols=symbols,
        noise_variance=noise_variance,
        received=received,
        start=start,
        phase=float(np.angle(np.exp(2j * np.pi * (curve.cycles(np.zeros(1))[0] + base.frequency * start)))),
        frequency=base.frequency + rate / spacing,
        frequency_rate=acceleration / spacing**2,
        clock_ppm=-slope * 1e6,
        power=power,
        snr_db=10 * float(np.log10(max(power, 1e-3 * noise.power) / noise.power)),
        lost_samples=track.tail_slip,
        end=start + spacing * end_symbol - track.tail_slip,
        truncated=truncated,
        stages={
            "window_centre": track.centre,
            "window_phase_cycles": track.phase,
            "window_delay_symbols": track.delay,
            "window_power": track.power,
            "gain_position": smooth.position,
            "gain": smooth.measured,
            "gain_smooth": smooth.gain,
            "block_noise": residue,
            "block_slip": track.slip,
        },
    )


def _power(
    base: Anchor,
    smooth: SmoothGain,
    level: NDArray[np.float32],
    own: Float,
    good: NDArray[np.bool_],
    payload: Complex,
    received: NDArray[np.bool_],
    noise: Noise,
) -> float:
    """Power of the payload's signal, see ``signal_power``; ``own`` is the variance of the gain at each block."""
    energy = float(base.energy.sum())
    start_level = float(np.sum(np.abs(base.gain) ** 2 * base.energy)) / energy
    return signal_power(
        level=float(np.mean(level[received])) - float(np.mean(own[good])) * noise.power,
        level_energy=PILOT_SYMBOLS * max(float(np.count_nonzero(good)), 1.0),
        start_level=start_level - noise.power * base.gain.size / energy,
        start_energy=energy,
        steady=smooth.steady,
        payload_power=float(np.mean(np.abs(payload[received]) ** 2)),
        payload_symbols=int(received.sum()),
        noise=noise,
    )


def _fit_delay(base: Anchor, track: Track) -> tuple[float, float]:
    """Offset (symbols, at the preamble's start) and slope (symbols per symbol) of the delay: a line by least squares."""
    use = track.present
    x = track.centre[use] - base.centre
    w = 1 / track.delay_variance[use]
    y = track.delay[use]
    normal = base.delay_normal + np.array([[w.sum(), (w * x).sum()], [(w * x).sum(), (w * x * x).sum()]])
    right = base.delay_normal @ [base.delay, base.drift] + [(w * y).sum(), (w * x * y).sum()]
    offset, slope = np.linalg.solve(normal + np.diag([0, 1 / DRIFT_PRIOR**2]), right)
    return float(offset - slope * base.centre), float(slope)


def _whole_blocks(base: Anchor, track: Track, blocks: int) -> tuple[int, bool]:
    """How many blocks were received whole, and whether the signal ended before the frame did.

    Where the tail is missing, the pilots tell.
    """
    if track.present[-1]:
        return blocks, False
    cut = fall(track.coherence, base.snr)
    if cut is None:
        return blocks, False
    first = blocks - track.coherence.size
    return max(first + cut - 1, 0), True  # the signal ended within the block before the first that misses its pilots


def _resample(
    samples: Complex,
    frequency: float,
    start: float,
    spacing: float,
    track: Track,
    block_at: NDArray[np.int64],
    tail_at: int,
    matched: MatchedFilter,
) -> _Resampled:
    halves = np.stack([block_at, block_at + matched.run], axis=1)
    slip, at_tail = track.slip, track.tail_slip
    starts = start + spacing * halves - slip[:, None]
    blocks = matched(samples, starts.reshape(-1), frequency)[0].reshape(block_at.size, BLOCK_SYMBOLS)
    tail = matched.stretch(samples, start + tail_at * spacing - at_tail, TAIL_SYMBOLS, frequency, spacing)
    if slip.any() or at_tail:  # the carrier went on through the lost samples
        blocks = blocks * np.exp(-2j * np.pi * frequency * slip).astype(np.complex64)[:, None]
        tail = tail * np.complex64(np.exp(-2j * np.pi * frequency * at_tail))
    return _Resampled(blocks, tail)


def _smooth(
    base: Anchor,
    curve: PhaseCurve,
    pilot_at: Float,
    gains: Complex,
    tail_at: NDArray[np.int64],
    tail: Complex,
    noise: float,
) -> SmoothGain:
    """The gain along the frame over the phase curve, from the anchor's segments, the pilot blocks' gains and the tail."""
    ends = slice(0, 1 if tail_at.size else 0)
    turn = curve.back(tail_at.astype(np.float64))
    middle = np.atleast_1d(tail_at.mean() if tail_at.size else 0.0)
    tail_gain = np.atleast_1d(np.sum(tail[: tail_at.size] * tail_pilots()[: tail_at.size].conj() * turn) / TAIL_SYMBOLS)
    position = np.concatenate([base.position, pilot_at, middle[ends]])
    gain = np.concatenate([base.gain * curve.back(base.position), gains, tail_gain[ends]])
    weight = np.concatenate(
        [base.energy, np.full(gains.size, float(PILOT_SYMBOLS)), np.array([float(TAIL_SYMBOLS)])[ends]]
    )
    return smooth_gain(position, gain.astype(np.complex128), weight, noise)
