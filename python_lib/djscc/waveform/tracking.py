# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows carrier and clock through a frame by its pilot blocks, and notices where samples are missing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from djscc.waveform.anchor import DRIFT_PRIOR, Anchor
from djscc.waveform.format import (
    BLOCK_SYMBOLS,
    PILOT_SYMBOLS,
    PREAMBLE_SYMBOLS,
    TAIL_SYMBOLS,
    Complex,
    Float,
    Integer,
    WaveformSettings,
    pilots,
    tail_pilots,
)
from djscc.waveform.matched_filter import MatchedFilter
from djscc.waveform.pulse import curvature, slope_matrix, vertex

WINDOW = 16  # pilot blocks looked at together
MAX_LOST_SYMBOLS = 2048  # the longest loss of samples within a frame that is looked for
_SIGNIFICANT = 8.0  # power of a window's pilots over what noise gives: one search over a few frequencies
_SLIP_SIGNIFICANT = 18.0  # the same for the search over thousands of lags
_TRANSFORM = 256
_PULL_IN = 0.1  # cycles per block that the carrier may be off the prediction
_DOPPLER_RATE = 1.2e-3  # cycles per block^2: 11 kHz/s at 1 Msym/s
_RATE_WANDER = 4e-6  # variance by which the carrier (cycles per block) strays in a window: phase noise and fading
_AROUND = 12  # unknown symbols on either side of a run of pilots that disturb its derivative
_CURVED = 0.15  # symbols of delay from which on a second look is taken from there
_JUMP = 0.2  # symbols that the delay jumps by, to look for a loss of a few samples
_CENTRE = (PILOT_SYMBOLS - 1) / 2


@dataclass(frozen=True)
class Track:
    """What the windows of pilot blocks tell, one entry a window and a last one for the tail.

    centre    middle of the window's pilots, in symbols after the preamble's first.
    phase     carrier phase there in cycles, unwrapped, over that of the nominal frequency.
    phase_variance  of it, in cycles^2, noise alone.
    delay     displacement from the nominal instants in symbols (lost samples not counted).
    delay_variance  of it.
    power     of the window's pilots, over what noise gives.
    present   whether the pilots were found at all.
    coherence share of each pilot block's energy, from the first tracked on, that its pilots explain.
    edges     first block of each window, and the number of blocks.
    slip      samples lost between the preamble and each pilot block (blocks,).
    erased    blocks (blocks,) within which samples were lost.
    """

    centre: Float
    phase: Float
    phase_variance: Float
    delay: Float
    delay_variance: Float
    power: Float
    present: NDArray[np.bool_]
    coherence: Float
    edges: Integer
    slip: Integer
    erased: NDArray[np.bool_]

    def until(self, block: int) -> Track:
        """The track without the tail and without the windows that lie for more than half at ``block`` or after."""
        keep = slice(0, int(np.count_nonzero((self.edges[:-1] + self.edges[1:]) / 2 <= block)))
        return replace(
            self,
            centre=self.centre[keep],
            phase=self.phase[keep],
            phase_variance=self.phase_variance[keep],
            delay=self.delay[keep],
            delay_variance=self.delay_variance[keep],
            power=self.power[keep],
            present=self.present[keep],
        )


@dataclass(frozen=True)
class _Window:
    power: float
    rate: float
    rate_variance: float
    phase: float
    delay: float
    delay_variance: float
    coherence: Float


class _Probe:
    """Measures phase and delay of runs of ``size`` known symbols among unknown ones.

    Delay shows in the derivative, where the symbols around a run disturb it. These are estimated from what is received,
    and taken out as far as the SNR allows.
    """

    def __init__(self, settings: WaveformSettings, size: int) -> None:
        self.size = size
        self.matched = MatchedFilter(settings, size + 2 * _AROUND)
        self._curvature = curvature(settings.roll_off)
        index = np.arange(size)
        around = np.concatenate([np.arange(-_AROUND, 0), size + np.arange(_AROUND)])
        self._inside = slope_matrix(index, index, settings.roll_off)
        self._outside = slope_matrix(index, around, settings.roll_off)
        self._disturbance = float(np.sum(self._outside**2))  # of a run, relative to the signal's power

    def symbols(self, samples: Complex, starts: Float, frequency: float) -> Complex:
        """The symbols of the runs at ``starts``."""
        early = starts - _AROUND * self.matched.sps
        return self.matched(samples, early, frequency)[0][:, _AROUND : _AROUND + self.size]

    def __call__(
        self,
        samples: Complex,
        starts: Float,
        frequency: float,
        known: Complex,
        away: Float,
        rate: float,
        pull_in: float,
    ) -> _Window:
        """Measure the runs ``known`` (n, size) at ``starts``, ``away`` blocks from the middle, within ``pull_in`` of ``rate``."""
        early = starts - _AROUND * self.matched.sps
        received, slopes = self.matched(samples, early, frequency, derivative=True)
        symbols, slopes = (a[:, _AROUND : _AROUND + self.size] for a in (received, slopes))
        others = np.delete(received, np.s_[_AROUND : _AROUND + self.size], axis=1)
        gains = (symbols * known.conj()).mean(axis=1)
        noise = float(np.mean(np.abs(symbols - gains[:, None] * known) ** 2)) * self.size / (self.size - 1)
        noise = max(noise, 1e-30)
        predicted = away * rate
        offset = 0.0
        if away.size > 1:
            spectrum = np.abs(scipy.fft.fft(gains * np.exp(-2j * np.pi * predicted), _TRANSFORM))
            reach = max(int(pull_in * _TRANSFORM), 2)
            near = np.concatenate([spectrum[-reach:], spectrum[: reach + 1]])
            peak = int(near.argmax())
            offset = (peak - reach + vertex(near, peak)) / _TRANSFORM
        line = np.exp(2j * np.pi * (predicted + offset * away))
        amplitude = complex(np.mean(gains * line.conj()))
        level = max(abs(amplitude) ** 2, 1e-30)
        power = level * known.size / noise
        share = level / (level + noise)  # of the symbols around a run that is taken out
        own = (amplitude * line)[:, None] * (known @ self._inside.T) + share * (others @ self._outside.T)
        lateness = np.sum((slopes - own) * (known * (amplitude * line)[:, None]).conj(), axis=1).real
        gain = self.size * self._curvature - share * self._disturbance
        ratio = noise / level
        disturbance = self._disturbance * ((1 - share) ** 2 + share**2 * ratio)
        return _Window(
            power=power,
            rate=rate + offset,
            rate_variance=6 / (max(power, 1.0) * max(away.size**2 - 1, 3)) / (4 * np.pi**2) + 1e-7,
            phase=float(np.angle(amplitude)) / (2 * np.pi),
            delay=float(np.clip(np.mean(lateness) / (level * gain), -0.5, 0.5)),
            delay_variance=(ratio * self.size * self._curvature + disturbance) / (2 * gain**2 * away.size) + 1e-8,
            coherence=np.abs(gains) ** 2 / np.maximum(np.mean(np.abs(symbols) ** 2, axis=1), 1e-30),
        )


class PilotTracker:
    """Windows of pilot blocks, one after the other, under a Kalman filter for frequency and one for delay.

    Working range, at 1 Msym/s: Doppler rate 10 kHz/s, sample clocks 50 ppm apart, flat fading to 100 Hz of Doppler spread
    with K of 10 or more, Es/N0 from -11 dB; losses of up to 2048 symbols at Es/N0 from -6 dB.
    """

    def __init__(self, settings: WaveformSettings) -> None:
        self.sps = settings.samples_per_symbol
        self._block = _Probe(settings, PILOT_SYMBOLS)
        self._tail = _Probe(settings, TAIL_SYMBOLS)
        self._wide = MatchedFilter(settings, MAX_LOST_SYMBOLS + 2 * PILOT_SYMBOLS)

    def __call__(self, samples: Complex, anchor: Anchor, first: int, blocks: int, tail: int) -> Track:
        """Track pilot blocks ``first`` to ``blocks - 1``, and the tail that starts at symbol ``tail``, from the anchor on."""
        windows = max(1, round((blocks - first) / WINDOW))
        edges = np.rint(np.linspace(first, blocks, windows + 1)).astype(np.int64)
        state = _State(anchor)
        found: list[_Window] = []
        places: list[tuple[float, float]] = []  # middle and phase of each window
        slips = np.zeros(blocks, np.int64)
        losses: list[tuple[int, int]] = []  # windows at which a loss was noticed, and the samples lost by then
        for window in range(windows):
            block = np.arange(edges[window], edges[window + 1])
            before = state.slip
            state.advance(float(block.mean()))
            found.append(self._find(samples, anchor, block, state))
            if state.slip != before:
                losses.append((window, state.slip))
            slips[block] = state.slip
            places.append((state.at, state.accept(found[-1])))
        at_tail = np.array([(tail - PREAMBLE_SYMBOLS) / BLOCK_SYMBOLS])
        state.advance(float(at_tail[0]) + (TAIL_SYMBOLS - PILOT_SYMBOLS) / 2 / BLOCK_SYMBOLS)
        found.append(self._look(samples, anchor, at_tail, state))
        places.append((state.at, state.accept(found[-1])))

        erased = np.zeros(blocks, bool)
        for window, after in losses:
            around = np.arange(edges[max(window - 2, 0)], edges[window + 1])
            self._place_loss(samples, anchor, around, after, slips, erased, state)
        power = np.array([w.power for w in found])
        middle, phase = np.array(places).T
        return Track(
            centre=PREAMBLE_SYMBOLS + middle * BLOCK_SYMBOLS + _CENTRE,
            phase=phase,
            phase_variance=1 / (2 * np.maximum(power, 1)) / (2 * np.pi) ** 2,
            delay=np.array([w.delay for w in found]),
            delay_variance=np.array([w.delay_variance for w in found]),
            power=power,
            present=power > _SIGNIFICANT,
            coherence=np.concatenate([w.coherence for w in found[:-1]]).astype(np.float64),
            edges=edges,
            slip=slips,
            erased=erased,
        )

    def _find(self, samples: Complex, anchor: Anchor, block: Integer, state: _State) -> _Window:
        """Measure a window; look further where its pilots are not at the predicted instants, and note a loss in ``state``."""
        result = self._look(samples, anchor, block, state)
        shift = result.delay - state.delay.value
        if abs(shift) > _CURVED:
            again = self._look(samples, anchor, block, state, shift)
            result = max(result, again, key=lambda w: w.power)
        slip = state.slip
        if result.power < _SIGNIFICANT:
            state.slip = slip + self._search_loss(samples, anchor, block, state)
            if state.slip != slip:
                retried = self._look(samples, anchor, block, state)
                if retried.power > _SLIP_SIGNIFICANT:
                    return retried
                state.slip = slip
        elif abs(result.delay - state.delay.value) > max(_JUMP, 6 * result.delay_variance**0.5):
            near = []
            for lost in range(-self.sps, self.sps + 1):
                state.slip = slip + lost
                near.append((self._look(samples, anchor, block, state), state.slip))
            result, state.slip = max(near, key=lambda pair: pair[0].power)
        return result

    def _starts(self, anchor: Anchor, block: Float | Integer, slip: int, delay: _Kalman, shift: float = 0.0) -> Float:
        symbol = shift + PREAMBLE_SYMBOLS + block * BLOCK_SYMBOLS + delay.value + delay.slope * (block - delay.at)
        return anchor.start - slip + self.sps * symbol

    def _look(
        self, samples: Complex, anchor: Anchor, block: Float | Integer, state: _State, shift: float = 0.0
    ) -> _Window:
        """Measure pilot blocks (whole numbers) or the tail (its place between blocks) ``shift`` after the prediction."""
        starts = self._starts(anchor, block, state.slip, state.delay, shift)
        pull_in = min(5 * state.rate.deviation, _PULL_IN)
        if block.dtype.kind == "i":
            probe, known, away = self._block, pilots(block.size, int(block[0])), block - state.at
        else:
            probe, known, away = self._tail, tail_pilots()[None, :], np.zeros(1)
        found = probe(samples, starts, anchor.frequency, known, away, state.rate.value, pull_in)
        through = anchor.frequency * state.slip  # cycles that the carrier went on through the lost samples
        return replace(found, phase=found.phase - through, delay=state.delay.value + shift + found.delay)

    def _search_loss(self, samples: Complex, anchor: Anchor, block: Integer, state: _State) -> int:
        """Samples lost before the window, by correlation of its pilots at all lags half a symbol apart; 0 if none show."""
        sps = self.sps
        known = pilots(block.size, int(block[0])).conj()
        first = self._starts(anchor, block, state.slip, state.delay) - MAX_LOST_SYMBOLS * sps
        line = np.exp(-2j * np.pi * (block - state.at) * state.rate.value)
        lags = MAX_LOST_SYMBOLS + PILOT_SYMBOLS
        best, lost, floor = 0.0, 0, 0.0
        for half in (0.0, 0.5):
            symbols, _ = self._wide(samples, first + half * sps, anchor.frequency)
            total = np.zeros(lags, np.complex64)
            for row, pilot, turned in zip(symbols, known, line, strict=True):
                total += np.convolve(row, pilot[::-1], "valid")[:lags] * turned
            power = total.real**2 + total.imag**2
            floor = max(floor, float(np.median(power)) / np.log(2))
            peak = int(power.argmax())
            if power[peak] > best:
                best = float(power[peak])
                lost = round((MAX_LOST_SYMBOLS - peak - half) * sps)
        return lost if best > _SLIP_SIGNIFICANT * floor else 0

    def _place_loss(
        self,
        samples: Complex,
        anchor: Anchor,
        block: Integer,
        after: int,
        slips: Integer,
        erased: NDArray[np.bool_],
        state: _State,
    ) -> None:
        """Find between which two blocks the loss lies that was noticed at a window; note it in ``slips``, ``erased``."""
        before = int(slips[block[0]])
        known = pilots(block.size, int(block[0])).conj()
        levels = []
        for slip in (before, after):
            symbols = self._block.symbols(samples, self._starts(anchor, block, slip, state.delay), anchor.frequency)
            levels.append(np.abs((symbols * known).mean(axis=1)) ** 2)
        # The last block with good pilots is ``last``; the loss starts within it and takes ``gap`` blocks with it.
        blocks_lost = (after - before) / (BLOCK_SYMBOLS * self.sps)
        gap = 1 if blocks_lost < 0.1 else int(blocks_lost) + 2
        old = np.cumsum(levels[0])
        new = np.concatenate([np.cumsum(levels[1][::-1])[::-1], np.zeros(gap + 1)])
        last = int(block[0]) + int(np.argmax(old + new[gap : gap + block.size]))
        slips[block[0] : last + 1] = before
        slips[last + 1 : block[-1] + 1] = after
        erased[last : last + gap] = True


class _State:
    """Where the tracker is: filters of carrier (cycles per block) and delay (symbols), phase, samples lost so far."""

    def __init__(self, anchor: Anchor) -> None:
        self.at = (anchor.centre - PREAMBLE_SYMBOLS - _CENTRE) / BLOCK_SYMBOLS
        carrier_variance = anchor.rate_variance * BLOCK_SYMBOLS**2 + 1e-6
        self.rate = _Kalman(self.at, 0.0, 0.0, carrier_variance, _DOPPLER_RATE**2, _RATE_WANDER)
        covariance = np.linalg.inv(anchor.delay_normal + np.diag([1e-9, 1 / DRIFT_PRIOR**2]))
        self.delay = _Kalman(
            self.at,
            anchor.delay,
            anchor.drift * BLOCK_SYMBOLS,
            covariance[0, 0] + 1e-6,
            covariance[1, 1] * BLOCK_SYMBOLS**2,
            1e-10,
        )
        self.slip = 0
        self._last = (self.at, anchor.phase, 0.0)  # block, phase in cycles, rate

    def advance(self, at: float) -> None:
        """Predict for block number ``at``."""
        self.at = at
        self.rate.advance(at)
        self.delay.advance(at)

    def accept(self, window: _Window) -> float:
        """Take in a measurement, if it is one; the unwrapped phase there in cycles, measured or expected."""
        present = window.power > _SIGNIFICANT
        if present:
            if window.coherence.size > 1:  # one run of pilots alone tells no frequency
                self.rate.update(window.rate, window.rate_variance)
            self.delay.update(window.delay, window.delay_variance)
        at, phase, rate = self._last
        expected = phase + (rate + self.rate.value) / 2 * (self.at - at)
        phase = window.phase + float(np.rint(expected - window.phase)) if present else expected
        self._last = (self.at, phase, self.rate.value)
        return phase


class _Kalman:
    """A value and its slope by blocks; the slope wanders."""

    def __init__(
        self, at: float, value: float, slope: float, variance: float, slope_variance: float, wander: float
    ) -> None:
        self.at, self.value, self.slope = at, value, slope
        self._p = np.array([[variance, 0.0], [0.0, slope_variance]])
        self._wander = wander

    @property
    def deviation(self) -> float:
        """Standard deviation of the value."""
        return float(np.sqrt(self._p[0, 0]))

    def advance(self, at: float) -> None:
        step = at - self.at
        self.value += self.slope * step
        move = np.array([[1.0, step], [0.0, 1.0]])
        self._p = move @ self._p @ move.T
        self._p[0, 0] += self._wander * step / WINDOW
        self.at = at

    def update(self, measured: float, variance: float) -> None:
        gain = self._p[:, 0] / (self._p[0, 0] + variance)
        error = measured - self.value
        self.value += float(gain[0]) * error
        self.slope += float(gain[1]) * error
        self._p = self._p - np.outer(gain, self._p[0])
