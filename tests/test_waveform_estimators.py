# SPDX-License-Identifier: GPL-3.0-or-later
"""Each stage of the receiver over its stated working range."""

import numpy as np
import pytest
from djscc.waveform import Modulator, WaveformSettings
from djscc.waveform.anchor import anchor
from djscc.waveform.detector import Detection, Detector
from djscc.waveform.format import BLOCK_SYMBOLS, Complex, preamble
from djscc.waveform.front_end import correct_samples, correct_symbols
from djscc.waveform.gain import smooth_gain
from djscc.waveform.header import HEADER_SYMBOLS
from djscc.waveform.impairments import delayed, noisy, phase_noise, rician, turned
from djscc.waveform.matched_filter import MatchedFilter
from djscc.waveform.modulator import compose, encode_header
from djscc.waveform.pulse import curvature, raised_cosine_slope
from djscc.waveform.synchronise import synchronise
from djscc.waveform.tracking import PilotTracker
from djscc.waveform.trial import example_header, gaussian

SETTINGS = WaveformSettings()
HEADER = example_header(40)


def sent(rng: np.random.Generator, tiles: int = 2) -> Complex:
    header = example_header(tiles)
    return Modulator(SETTINGS).modulate(header, gaussian(header.payload_symbols, rng))


def at_snr(samples: Complex, snr_db: float, rng: np.random.Generator) -> Complex:
    return noisy(samples, SETTINGS.mean_power * 2 * 10 ** (-snr_db / 10), rng)


@pytest.mark.parametrize("cfo", [-0.08, -0.05, -0.001, 0.0, 0.02, 0.08])
@pytest.mark.parametrize("snr_db", [-10.0, 30.0])
def test_detector_over_carrier_offsets(cfo: float, snr_db: float) -> None:
    rng = np.random.default_rng(1)
    detector = Detector(SETTINGS)
    for _ in range(4):
        delay = rng.uniform(300, detector.hop - 300)
        frame = turned(delayed(sent(rng), delay), cfo / 2)
        block = at_snr(np.concatenate([frame, np.zeros(detector.block, np.complex64)])[: detector.block], snr_db, rng)
        found = detector(block)
        assert found is not None
        assert found.start - delay - 48 == pytest.approx(0, abs=0.6)
        assert found.frequency * 2 == pytest.approx(cfo, abs=3.5e-4)


def test_detector_metric_is_exponential_in_noise_and_in_payload() -> None:
    """The threshold rests on this: in both, P(metric > t) = e^-t, here within 15 % at t = 5 (4 standard deviations)."""
    rng = np.random.default_rng(2)
    detector = Detector(SETTINGS)
    noise = np.concatenate([noisy(np.zeros(detector.block, np.complex64), 1, rng) for _ in range(20)])
    header = example_header(160)
    payload = Modulator(SETTINGS).modulate(header, gaussian(header.payload_symbols, rng))[6000:-200]
    for samples in (noise, payload):
        values = []
        for at in range(0, samples.size - detector.block, detector.block):
            values.extend(detector.metrics(samples[at : at + detector.block]))
        metric = np.concatenate(values)
        assert metric.mean() == pytest.approx(1, abs=0.03)
        assert np.mean(metric > 5) == pytest.approx(np.exp(-5), rel=0.15)


@pytest.mark.parametrize("kind", ["noise", "tone", "tone in noise", "impulses", "zeros", "payload", "step"])
def test_detector_raises_no_false_alarm(kind: str) -> None:
    """Theory has one false alarm in 1e12 samples; here are 1e6 of each kind."""
    rng = np.random.default_rng(3)
    detector = Detector(SETTINGS)
    count = 60 * detector.hop
    noise = noisy(np.zeros(count, np.complex64), 1, rng)
    samples = {
        "noise": noise,
        "tone": turned(np.ones(count, np.complex64), 0.0371),
        "tone in noise": noise + 3 * turned(np.ones(count, np.complex64), -0.0123),
        "impulses": noise * (rng.random(count) < 1e-3) * 100,
        "zeros": np.zeros(count, np.complex64),
        "payload": np.tile(Modulator(SETTINGS).modulate(HEADER, gaussian(HEADER.payload_symbols, rng))[5600:-160], 9),
        "step": noise * np.repeat(10.0 ** rng.uniform(-3, 3, count // 500 + 1), 500)[:count],
    }[kind].astype(np.complex64)
    for at in range(0, samples.size - detector.block, detector.hop):
        assert detector(samples[at : at + detector.block]) is None


def test_synchroniser_refines_over_its_range() -> None:
    """Standard deviations at -8 dB: 2e-5 cycles/symbol, 0.03 symbols; the bounds are five of them."""
    rng = np.random.default_rng(4)
    matched = MatchedFilter(SETTINGS, 164)
    for _ in range(30):
        delay, cfo = rng.uniform(1000, 1100), rng.uniform(-0.08, 0.08)
        samples = at_snr(turned(delayed(sent(rng), delay), cfo / 2), -8, rng)
        rough = Detection(delay + 48 + rng.uniform(-0.5, 0.5), (cfo + rng.uniform(-2e-4, 2e-4)) / 2, 0)
        found = synchronise(samples, rough, matched)
        assert found.start == pytest.approx(delay + 48, abs=0.3)
        assert found.frequency * 2 == pytest.approx(cfo, abs=1e-4)
        assert found.gain / SETTINGS.scale == pytest.approx(1, abs=0.15)


def test_anchor_is_closer_than_the_preamble_alone() -> None:
    rng = np.random.default_rng(5)
    matched = MatchedFilter(SETTINGS, 164)
    known = compose(encode_header(example_header(2)))[:-64]
    errors = []
    for _ in range(20):
        delay, cfo = rng.uniform(1000, 1100), rng.uniform(-0.08, 0.08)
        samples = at_snr(turned(delayed(sent(rng), delay), cfo / 2), -8, rng)
        rough = synchronise(samples, Detection(delay + 48, cfo / 2, 0), matched)
        found = anchor(samples, rough, known, matched)
        errors.append([(found.frequency - cfo / 2) * 2, found.start + 2 * found.delay - delay - 48])
    deviation = np.sqrt(np.mean(np.square(errors), axis=0))
    assert deviation[0] < 1.2e-5
    assert deviation[1] < 0.08


@pytest.mark.parametrize("snr_db", [-8.0, 20.0])
@pytest.mark.parametrize(("rate", "ppm"), [(1e4, 50.0), (-1e4, -50.0), (0.0, 0.0)])
def test_tracker_follows_doppler_rate_and_clock(snr_db: float, rate: float, ppm: float) -> None:
    rng = np.random.default_rng(6)
    payload = gaussian(HEADER.payload_symbols, rng)
    known = compose(encode_header(HEADER))[:-64]
    matched = MatchedFilter(SETTINGS, 164)
    clean = delayed(Modulator(SETTINGS).modulate(HEADER, payload), 1000, ppm)
    samples = at_snr(turned(clean, 0.01, rate / 4e12), snr_db, rng)
    rough = synchronise(samples, Detection(1048 * (1 + ppm * 1e-6), 0.01, 0), matched)
    base = anchor(samples, rough, known, matched)
    blocks = -(-(HEADER_SYMBOLS + HEADER.payload_symbols) // 320)
    track = PilotTracker(SETTINGS)(
        samples, base, 4, blocks, 1024 + 8 * blocks + HEADER_SYMBOLS + HEADER.payload_symbols
    )
    at = base.start + 2 * track.centre * (1 + ppm * 1e-6)  # instants in samples
    true_phase = 0.01 * at + rate / 4e12 / 2 * at**2 - base.frequency * at
    error = track.phase - true_phase - np.rint(np.mean(track.phase - true_phase))
    assert np.abs(error[track.present]).max() < (0.25 if snr_db < 0 else 0.03)
    true_delay = ppm * 1e-6 * track.centre + (1048 * (1 + ppm * 1e-6) - base.start) / 2
    assert np.abs((track.delay - true_delay)[track.present]).max() < (0.5 if snr_db < 0 else 0.05)
    assert track.present.mean() > 0.7
    assert not track.slip.any()


@pytest.mark.parametrize("width", ["noise", "fading"])
def test_gain_smoother_adapts_to_the_channel(width: str) -> None:
    rng = np.random.default_rng(7)
    position = np.arange(200) * float(BLOCK_SYMBOLS)
    true = np.ones(200) + 0j if width == "noise" else rician(200 * BLOCK_SYMBOLS, 10, 1e-4, rng)[::BLOCK_SYMBOLS]
    noise = (rng.standard_normal((200, 2)) * 0.05).view(np.complex128)[:, 0]
    found = smooth_gain(position, true + noise, np.full(200, 8.0), noise=8 * 0.005)
    assert found.steady == (width == "noise")
    error = np.mean(np.abs(found.gain - true) ** 2)
    assert error < 0.005 * (0.1 if width == "noise" else 0.9)


@pytest.mark.parametrize("cfo", [0.0, 0.03])
def test_front_end_correction(cfo: float) -> None:
    rng = np.random.default_rng(8)
    header = example_header(32)
    clean = turned(Modulator(SETTINGS).modulate(header, gaussian(header.payload_symbols, rng)), cfo)
    rms = float(np.sqrt(SETTINGS.mean_power))
    samples = (clean + 0.05 * clean.conj() + 0.1 * rms * (1 - 0.5j)).astype(np.complex64)
    correct_samples(samples, slice(6000, samples.size - 200), 2)
    error = np.mean(np.abs(samples - clean)[6000:-200] ** 2) / rms**2
    assert error < 10**-3.6


def test_front_end_correction_of_symbols_leaves_clean_ones() -> None:
    rng = np.random.default_rng(9)
    clean = gaussian(50000, rng)
    symbols = clean.copy()
    none = np.zeros(clean.size, np.float32)
    correct_symbols(symbols, none)
    assert np.mean(np.abs(symbols - clean) ** 2) < 2e-4
    leaked = (clean + 0.04 * clean.conj() + 0.05j).astype(np.complex64)
    symbols = leaked.copy()
    correct_symbols(symbols, none)
    assert np.mean(np.abs(symbols - clean) ** 2) < 4e-4
    symbols = leaked.copy()  # a fade: little but noise, amplified a thousand times
    variance = none.copy()
    variance[20000:30000], variance[40000:] = 1e6, np.inf
    symbols[20000:30000] += 1000 * gaussian(10000, rng)
    correct_symbols(symbols, variance)
    assert np.mean(np.abs(symbols - clean)[:20000] ** 2) < 4e-4


@pytest.mark.parametrize("samples_per_symbol", [2, 3, 4])
@pytest.mark.parametrize("cfo", [-0.08, 0.0, 0.08])
def test_matched_filter_takes_symbols_at_any_instant(samples_per_symbol: int, cfo: float) -> None:
    settings = WaveformSettings(samples_per_symbol=samples_per_symbol, back_off_db=30)
    matched = MatchedFilter(settings, 64)
    symbols = preamble()
    for fraction in (0.0, 0.3, 0.5, 0.9):
        samples = delayed(Modulator(settings)._shape(symbols), 500 + fraction)
        samples = turned(samples, cfo / samples_per_symbol)
        start = 500 + fraction + 24 * samples_per_symbol
        found = matched.stretch(samples, start, symbols.size, cfo / samples_per_symbol, samples_per_symbol)
        error = np.mean(np.abs(found / settings.scale - symbols) ** 2) / 3
        assert error < 10**-4.3


def test_slope_and_curvature_are_the_pulses() -> None:
    fine = 1e-4
    t = np.array([-2, -1, 0, 1, 2, 3])

    def pulse(at: np.ndarray, roll_off: float) -> np.ndarray:
        return np.sinc(at) * np.cos(np.pi * roll_off * at) / (1 - (2 * roll_off * at) ** 2)

    for roll_off in (0.2, 0.35):
        numeric = (pulse(t + fine, roll_off) - pulse(t - fine, roll_off)) / (2 * fine)
        assert raised_cosine_slope(t, roll_off) == pytest.approx(numeric, abs=1e-5)
        zero = np.zeros(1)
        bend = (2 * pulse(zero, roll_off) - pulse(zero + 1e-3, roll_off) - pulse(zero - 1e-3, roll_off)) / 1e-6
        assert curvature(roll_off) == pytest.approx(float(bend[0]), rel=1e-3)


def test_impairments_have_the_statistics_they_claim() -> None:
    rng = np.random.default_rng(10)
    gain = np.concatenate([rician(1 << 18, 10, 5e-4, rng) for _ in range(4)])
    assert np.mean(np.abs(gain) ** 2) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(gain)) ** 2 == pytest.approx(10 / 11, abs=0.03)
    phase = phase_noise(1 << 20, 2e6, rng).astype(np.float64)
    windows = phase.reshape(-1, 1 << 14) * np.hanning(1 << 14)
    density = np.mean(np.abs(np.fft.rfft(windows, axis=1)) ** 2, axis=0) / (2e6 * np.sum(np.hanning(1 << 14) ** 2))
    frequency = np.fft.rfftfreq(1 << 14, 0.5e-6)
    near = (frequency > 9e3) & (frequency < 11e3)
    assert 10 * np.log10(density[near].mean()) == pytest.approx(-87, abs=1)
