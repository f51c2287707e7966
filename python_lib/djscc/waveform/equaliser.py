# SPDX-License-Identifier: GPL-3.0-or-later
"""From the samples of a frame whose header is known to its equalised payload symbols."""

from __future__ import annotations

from dataclasses import dataclass

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
from djscc.waveform.gain import smooth_gain
from djscc.waveform.matched_filter import MatchedFilter
from djscc.waveform.modulator import compose
from djscc.waveform.phase import PhaseCurve
from djscc.waveform.synchronise import Synchronisation
from djscc.waveform.tracking import WINDOW, PilotTracker, Track

_LOCAL = 16  # blocks on either side in the noise power of a block


@dataclass(frozen=True)
class Equalised:
    """Payload as on the air (still interleaved and scrambled), and what was estimated on the way.

    start (samples), frequency (cycles/sample, at the frame's middle), frequency_rate (cycles/sample^2), power of the
    payload at the matched filter's output, phase (radians, of the preamble's first symbol), end (samples; where the frame,
    or what was received of it, ends), erased_symbols (payload symbols not received).
    """

    symbols: Complex
    noise_variance: NDArray[np.float32]
    received: NDArray[np.bool_]
    start: float
    frequency: float
    frequency_rate: float
    clock_ppm: float
    power: float
    phase: float
    snr_db: float
    lost_samples: int
    end: float
    truncated: bool
    stages: dict[str, NDArray[np.generic]]


def equalise(
    samples: Complex,
    sync: Synchronisation,
    header: Complex,
    payload_symbols: int,
    matched: MatchedFilter,
    tracker: PilotTracker,
) -> Equalised:
    """Track, resample and equalise the frame in ``samples``, whose ``header`` symbols are known by now."""
    sps = matched.sps
    data_symbols = header.size + payload_symbols
    blocks = data_blocks(data_symbols)
    total = frame_symbols(data_symbols)
    known = compose(header)[:-TAIL_SYMBOLS]
    base = anchor(samples, sync, known, matched)
    first = min(data_blocks(header.size), blocks - 1)  # the first block whose pilots are not among the known symbols
    track = tracker(samples, base, first, blocks, total - TAIL_SYMBOLS)
    last_block, truncated = _last_block(track, blocks)
    track = track.until(last_block)
    offset, slope = _fit_delay(base, track)
    start = base.start + offset * sps
    spacing = sps * (1 + slope)
    curve = PhaseCurve(base, track)

    # All symbols after the preamble, in runs of half a block.
    block_at = PREAMBLE_SYMBOLS + BLOCK_SYMBOLS * np.arange(blocks)
    halves = np.stack([block_at, block_at + matched.run], axis=1)
    starts = start + spacing * halves - track.slip[:, None]
    body = matched(samples, starts.reshape(-1), base.frequency)[0].reshape(blocks, BLOCK_SYMBOLS)
    if track.slip.any():
        body *= np.exp(-2j * np.pi * base.frequency * track.slip)[:, None].astype(np.complex64)
    tail_at = total - TAIL_SYMBOLS
    tail = matched.stretch(samples, start + tail_at * spacing - track.slip[-1], TAIL_SYMBOLS, base.frequency, spacing)
    tail *= np.complex64(np.exp(-2j * np.pi * base.frequency * track.slip[-1]))

    # Gain: of the known segments, of each pilot block, of the tail.
    pilot = pilots(blocks)
    at_pilots = body[:, :PILOT_SYMBOLS]
    gains = (at_pilots * pilot.conj()).mean(axis=1)
    noise = np.sum(np.abs(at_pilots - gains[:, None] * pilot) ** 2, axis=1).astype(np.float64) / (PILOT_SYMBOLS - 1)
    centres = block_at + (PILOT_SYMBOLS - 1) / 2
    if truncated:
        last_block = _last_good(np.abs(gains) ** 2, last_block)
    number = np.arange(blocks)
    good = (number < last_block) & ~track.erased
    later = good & (number >= data_blocks(header.size))
    tail_centre = tail_at + np.arange(TAIL_SYMBOLS, dtype=np.float64)
    tail_gain = np.mean(tail * tail_pilots().conj() * curve.back(tail_centre), keepdims=True)
    ends = [] if truncated else [0]
    position = np.concatenate([base.position, centres[later], tail_centre.mean(keepdims=True)[ends]])
    gain = np.concatenate(
        [base.gain * curve.back(base.position), gains[later] * curve.back(centres[later]), tail_gain[ends]]
    )
    weight = np.concatenate([base.energy, np.full(later.sum(), float(PILOT_SYMBOLS)), np.full(len(ends), float(TAIL_SYMBOLS))])
    smooth = smooth_gain(position, gain, weight)

    # Equalise the payload.
    index = header.size + np.arange(payload_symbols)
    block_of = index // DATA_SYMBOLS
    symbol = (PREAMBLE_SYMBOLS + PILOT_SYMBOLS) + PILOT_SYMBOLS * block_of + index
    factor = (np.interp(symbol, position, smooth.gain)).astype(np.complex64)
    level = np.maximum(factor.real**2 + factor.imag**2, np.float32(1e-30))
    data = body[:, PILOT_SYMBOLS:].reshape(-1)[header.size : data_symbols]
    symbols = data * curve.back(symbol.astype(np.float64)) * factor.conj() / level
    symbols = symbols.astype(np.complex64)

    # Noise: what pilots and header symbols leave.
    sent = np.arange(header.size)
    header_at = PREAMBLE_SYMBOLS + PILOT_SYMBOLS * (1 + sent // DATA_SYMBOLS) + sent
    header_factor = np.interp(header_at, position, smooth.gain) * curve.back(header_at.astype(np.float64)).conj()
    header_error = body[:, PILOT_SYMBOLS:].reshape(-1)[: header.size] - header_factor * header
    free = int(good.sum()) * (PILOT_SYMBOLS - 1)
    noise_power = float(np.sum(noise[good]) * (PILOT_SYMBOLS - 1) + np.sum(np.abs(header_error) ** 2)) / (free + header.size)
    noise_power = max(noise_power, 1e-30)
    local = np.maximum(_local_mean(np.where(good, noise, noise_power), _LOCAL), 1e-30)
    own = np.interp(centres, position, smooth.variance)
    noise_variance = ((local * (1 + own)).astype(np.float32)[block_of] / level).astype(np.float32)
    power = max(float(np.mean(level)) - float(np.mean(own)) * noise_power, 1e-3 * noise_power)

    received = good[block_of]
    correct_symbols(symbols)
    symbols[~received] = 0
    noise_variance[~received] = np.inf
    end = start + spacing * (block_at[last_block] if truncated else total - 8) - track.slip[-1]
    rate, acceleration = curve.rates(total / 2)
    return Equalised(
        symbols=symbols,
        noise_variance=noise_variance,
        received=received,
        start=start,
        frequency=base.frequency + rate / spacing,
        frequency_rate=acceleration / spacing**2,
        clock_ppm=-slope * 1e6,
        power=power,
        phase=float(np.angle(np.exp(2j * np.pi * (curve.cycles(np.zeros(1))[0] + base.frequency * start)))),
        snr_db=10 * float(np.log10(power / noise_power)),
        lost_samples=int(track.slip[-1]),
        end=end,
        truncated=truncated,
        stages={
            "window_centre": track.centre,
            "window_phase_cycles": track.phase,
            "window_delay_symbols": track.delay,
            "window_power": track.power,
            "pilot_position": position,
            "pilot_gain": gain,
            "smooth_gain": smooth.gain,
            "block_noise": noise,
            "block_slip": track.slip,
        },
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


def _last_block(track: Track, blocks: int) -> tuple[int, bool]:
    """How many blocks were received before the signal ended, and whether it ended early.

    A window without pilots ends the frame where those before were strong; a weak signal has to be gone for three windows.
    """
    if track.present[-1]:
        return blocks, False
    present = np.flatnonzero(track.present)
    last = int(present[-1]) + 1 if present.size else 0
    absent = track.present.size - 1 - last
    usual = float(np.median(track.power[present])) if present.size else 0.0
    if absent >= (1 if usual > 30 else 3):
        return max(int(track.edges[last]), 1), True
    return blocks, False


def _last_good(level: Float, blocks: int) -> int:
    """How many blocks are sure to be whole where the signal ends in the last window before ``blocks``.

    The pilots' levels fall there to less than half of the usual; one block less, since noise may hold them up for one.
    """
    first = max(blocks - WINDOW - 1, 0)
    usual = float(np.median(level[: max(first, 1)]))
    gain = np.cumsum(level[first:blocks] - usual / 2)
    return max(first + int(np.argmax(gain)) - 1, 1)


def _local_mean(values: Float, reach: int) -> Float:
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(values.size)
    high, low = np.minimum(index + reach + 1, values.size), np.maximum(index - reach, 0)
    return (total[high] - total[low]) / (high - low)
