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
    tail_slip samples lost between the preamble and the tail.
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
    tail_slip: int
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
    with K of 10 or more, Es/N0 from -11 dB; losses of 0.2 to 2048 symbols at Es/N0 from -6 dB, one a window.
    """

    def __init__(self, settings: WaveformSettings) -> None:
        self.sps = settings.samples_per_symbol
        self._block = _Probe(settings, PILOT_SYMBOLS)
        self._tail = _Probe(settings, TAIL_SYMBOLS)
        self._wide = MatchedFilter(settings, MAX_LOST_SYMBOLS + PILOT_SYMBOLS + TAIL_SYMBOLS)

    def __call__(self, samples: Complex, anchor: Anchor, first: int, blocks: int, tail: int) -> Track:
        """Track pilot blocks ``first`` to ``blocks - 1``, and the tail that starts at symbol ``tail``, from the anchor on."""
        windows = max(1, round((blocks - first) / WINDOW))
        edges = np.rint(np.linspace(first, blocks, windows + 1)).astype(np.int64)
        state = _State(anchor)
        found: list[_Window] = []
        places: list[tuple[float, float]] = []  # middle and phase of each window
        slips = np.zeros(blocks, np.int64)
        erased = np.zeros(blocks, bool)
        start = 0  # a loss lies after the one before it; the first may lie within the header
        for window in range(windows):
            block = np.arange(edges[window], edges[window + 1])
            before = state.slip
            state.advance(float(block.mean()))
            found.append(self._find(samples, anchor, block, state))
            slips[block] = state.slip
            places.append((state.at, state.accept(found[-1])))
            if state.slip != before:
                around = np.arange(max(int(edges[window - 2]) if window > 1 else 0, start), edges[window + 1])
                loss = self._place_loss(samples, anchor, around, before, state.slip, state)
                loss.note(slips, erased)
                start = loss.last + 1
        at_tail = np.array([(tail - PREAMBLE_SYMBOLS) / BLOCK_SYMBOLS])
        state.advance(float(at_tail[0]) + (TAIL_SYMBOLS - PILOT_SYMBOLS) / 2 / BLOCK_SYMBOLS)
        before = state.slip
        found.append(self._find(samples, anchor, at_tail, state))
        if state.slip != before:
            around = np.arange(min(max(int(edges[windows - 2]) if windows > 1 else 0, start), blocks - 1), blocks)
            loss = self._place_loss(samples, anchor, around, before, state.slip, state)
            if loss.coherence > halfway(anchor.snr):
                loss.note(slips, erased)
            else:  # another frame's tail, after this one was cut off
                state.slip = before
                found[-1] = self._look(samples, anchor, at_tail, state)
        places.append((state.at, state.accept(found[-1])))
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
            tail_slip=state.slip,
            erased=erased,
        )

    def _find(self, samples: Complex, anchor: Anchor, block: Float | Integer, state: _State) -> _Window:
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
        cut = fall(result.coherence, anchor.snr) if block.size > 1 else None
        return result if cut is None else self._split(samples, anchor, block, cut, state, result)

    def _split(
        self, samples: Complex, anchor: Anchor, block: Float | Integer, cut: int, state: _State, whole: _Window
    ) -> _Window:
        """Measure again a window whose pilots are not where they should be from block number ``cut`` of it on: the later
        blocks by themselves where a loss of samples before them shows, else the earlier ones by themselves."""
        slip, middle = state.slip, state.at
        state.advance(float(block[cut:].mean()))
        state.slip = slip + self._search_loss(samples, anchor, block[cut:], state)
        if state.slip != slip:
            later = self._look(samples, anchor, block[cut:], state)
            if later.power > _SLIP_SIGNIFICANT:
                return replace(later, coherence=np.concatenate([whole.coherence[:cut], later.coherence]))
        state.slip = slip
        if cut < 2:
            state.advance(middle)
            return whole
        state.advance(float(block[:cut].mean()))
        return replace(self._look(samples, anchor, block[:cut], state), coherence=whole.coherence)

    def _starts(self, anchor: Anchor, block: Float | Integer, slip: int, delay: _Kalman, shift: float = 0.0) -> Float:
        symbol = shift + PREAMBLE_SYMBOLS + block * BLOCK_SYMBOLS + delay.value + delay.slope * (block - delay.at)
        return anchor.start - slip + self.sps * symbol

    def _look(
        self, samples: Complex, anchor: Anchor, block: Float | Integer, state: _State, shift: float = 0.0
    ) -> _Window:
        """Measure pilot blocks (whole numbers) or the tail (its place between blocks) ``shift`` after the prediction."""
        starts = self._starts(anchor, block, state.slip, state.delay, shift)
        pull_in = min(5 * state.rate.deviation, _PULL_IN)
        probe, away = (self._block, block - state.at) if block.dtype.kind == "i" else (self._tail, np.zeros(1))
        found = probe(samples, starts, anchor.frequency, _known(block), away, state.rate.value, pull_in)
        through = anchor.frequency * state.slip  # cycles that the carrier went on through the lost samples
        return replace(found, phase=found.phase - through, delay=state.delay.value + shift + found.delay)

    def _search_loss(self, samples: Complex, anchor: Anchor, block: Float | Integer, state: _State) -> int:
        """Samples lost before the window, by correlation of its pilots at all lags half a symbol apart; 0 if none show."""
        sps = self.sps
        known = _known(block).conj()
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
        self, samples: Complex, anchor: Anchor, block: Integer, before: int, after: int, state: _State
    ) -> _Loss:
        """Find where among the blocks the slip went from ``before`` to ``after``."""
        known = pilots(block.size, int(block[0])).conj()
        levels, shares = [], []
        for slip in (before, after):
            symbols = self._block.symbols(samples, self._starts(anchor, block, slip, state.delay), anchor.frequency)
            levels.append(np.abs((symbols * known).mean(axis=1)) ** 2)
            shares.append(levels[-1] / np.maximum(np.mean(np.abs(symbols) ** 2, axis=1), 1e-30))
        # The last block with good pilots is ``last``; the loss starts within it and takes ``gap`` blocks with it. Blocks with
        # less than half the usual level count against either slip.
        usual = float(np.median(np.maximum(*levels)))
        old, new = (np.concatenate([[0.0], np.cumsum(level - usual / 2)]) for level in levels)
        shortest = max(int((after - before) / (BLOCK_SYMBOLS * self.sps)) + 1, 1)
        best = (-np.inf, 0, 0)
        for gap in (shortest, shortest + 1):
            score = old[1:] + new[-1] - new[np.minimum(np.arange(block.size) + gap, block.size)]
            best = max(best, (float(score.max()), int(score.argmax()), gap))
        _, last, gap = best
        others = np.concatenate([shares[0][: last + 1], shares[1][last + gap :]])
        return _Loss(block, int(block[0]) + last, gap, before, after, float(others.mean()))


@dataclass(frozen=True)
class _Loss:
    """A loss of samples among ``block``, within block ``last``: it takes ``gap`` blocks. The slip goes from ``before`` to
    ``after``, the mean coherence of the other blocks is ``coherence``."""

    block: Integer
    last: int
    gap: int
    before: int
    after: int
    coherence: float

    def note(self, slips: Integer, erased: NDArray[np.bool_]) -> None:
        slips[self.block[0] : self.last + 1] = self.before
        slips[self.last + 1 : self.block[-1] + 1] = self.after
        erased[self.last : self.last + self.gap] = True


def _known(block: Float | Integer) -> Complex:
    """The pilots of blocks (whole numbers), or of the tail (a place between blocks), one row each."""
    return pilots(block.size, int(block[0])) if block.dtype.kind == "i" else tail_pilots()[None, :]


def fall(coherence: Float, snr: float) -> int | None:
    """The most likely block from which on pilots explain less of their blocks' energy than half-way to what chance does.

    None where they fall short by no more than noise makes them do once in 10,000 frames (the largest fall of a random walk
    with drift is exponential; Cox and Miller, The Theory of Stochastic Processes, 1965).
    """
    chance, middle = 1 / PILOT_SYMBOLS, halfway(snr)
    drift = middle - chance
    usual = middle + drift
    excess = np.concatenate([[0.0], np.cumsum(coherence - middle)])
    cut = int(np.argmax(excess))
    variance = (1 - usual) * chance  # near that of the beta distribution of chance, and of its narrowing at high SNR
    return cut if excess[cut] - excess[-1] >= max(9 * variance / (2 * drift), 3 * drift) else None


def halfway(snr: float) -> float:
    """Share of a block's energy half-way between what its pilots explain at an SNR and what chance does."""
    chance = 1 / PILOT_SYMBOLS
    return (chance + (snr + chance) / (snr + 1)) / 2


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
        self._p[0, 0] += self._wander * abs(step) / WINDOW
        self.at = at

    def update(self, measured: float, variance: float) -> None:
        gain = self._p[:, 0] / (self._p[0, 0] + variance)
        error = measured - self.value
        self.value += float(gain[0]) * error
        self.slope += float(gain[1]) * error
        self._p = self._p - np.outer(gain, self._p[0])
