# SPDX-License-Identifier: GPL-3.0-or-later
"""One test an impairment, each with the loss it may cost against an ideal receiver of the same noise.

The loss is that of the SNR of the equalised payload symbols, the mean over the frames of the test. The bounds leave room
of several standard errors over what the benchmark measures: a false failure is rarer than 1 in 10,000 runs of other seeds.
"""

import numpy as np
import pytest
from djscc.waveform import Modulator, Receiver, WaveformSettings
from djscc.waveform.trial import Link, Trial, example_header, gaussian, run, working_range


def loss_db(link: Link, tiles: int = 16, frames: int = 3, settings: WaveformSettings | None = None) -> float:
    rng = np.random.default_rng(1)
    losses = []
    for _ in range(frames):
        trial = one(link, tiles, rng, settings)
        assert trial.frame is not None
        assert trial.frames == 1
        losses.append(trial.ideal_db - trial.snr_db)
    return float(np.mean(losses))


def one(link: Link, tiles: int, rng: np.random.Generator, settings: WaveformSettings | None = None) -> Trial:
    header = example_header(tiles, seed=int(rng.integers(2**16)))
    return run(link, header, gaussian(header.payload_symbols, rng), rng, settings)


@pytest.mark.parametrize("roll_off", [0.2, 0.25, 0.35])
@pytest.mark.parametrize("samples_per_symbol", [2, 3, 4])
def test_exact_loopback(roll_off: float, samples_per_symbol: int) -> None:
    """No channel at all: what is left are clipped peaks and the DC that chance makes a short frame seem to have."""
    settings = WaveformSettings(roll_off=roll_off, samples_per_symbol=samples_per_symbol)
    header = example_header(4)
    payload = gaussian(header.payload_symbols, np.random.default_rng(2))
    receiver = Receiver(settings)
    frames = receiver.push(np.concatenate([Modulator(settings).modulate(header, payload), Modulator(settings).guard()]))
    assert len(frames) == 1
    assert frames[0].header == header
    assert frames[0].received.all()
    assert 10 * np.log10(np.mean(np.abs(frames[0].symbols - payload) ** 2)) < -30
    assert frames[0].report.gain_db == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("snr_db", "bound"), [(-8.0, 0.35), (-5.0, 0.2), (0.0, 0.1), (5.0, 0.1), (10.0, 0.1), (15.0, 0.12), (20.0, 0.2)]
)
def test_awgn(snr_db: float, bound: float) -> None:
    assert loss_db(Link(snr_db, cfo=0.013, delay=1234.56)) < bound


@pytest.mark.parametrize("cfo", [-0.08, -0.04, -0.0007, 0.0, 0.0007, 0.04, 0.08])
def test_carrier_offset(cfo: float) -> None:
    assert loss_db(Link(10, cfo=cfo, phase=2.0), frames=1) < 0.15
    assert loss_db(Link(-8, cfo=cfo, phase=2.0), frames=2) < 0.6


@pytest.mark.parametrize("doppler_rate", [-1e4, -1e3, 1e4])
def test_doppler_rate(doppler_rate: float) -> None:
    assert loss_db(Link(15, cfo=0.02, doppler_rate=doppler_rate), frames=2) < 0.15
    assert loss_db(Link(-8, cfo=0.02, doppler_rate=doppler_rate), frames=3) < 0.6


@pytest.mark.parametrize("clock_ppm", [-50.0, -5.0, 50.0])
def test_clock_offset(clock_ppm: float) -> None:
    assert loss_db(Link(20, clock_ppm=clock_ppm), tiles=32, frames=1) < 0.25
    assert loss_db(Link(-8, clock_ppm=clock_ppm), tiles=32, frames=2) < 0.6
    trial = one(Link(10, clock_ppm=clock_ppm), 32, np.random.default_rng(3))
    assert trial.frame is not None
    assert trial.frame.report.clock_ppm == pytest.approx(-clock_ppm, abs=1.0)


@pytest.mark.parametrize("fraction", np.arange(10) / 10)
def test_fractional_delay(fraction: float) -> None:
    trial = one(Link(20, delay=1500 + fraction), 4, np.random.default_rng(4))
    assert trial.frame is not None
    assert trial.ideal_db - trial.snr_db < 0.35
    report = trial.frame.report
    assert report.sample_index + report.timing == pytest.approx(1548 + fraction, abs=0.05)


@pytest.mark.parametrize(("snr_db", "bound"), [(20.0, 0.6), (10.0, 0.25), (-5.0, 0.3)])
def test_phase_noise_of_a_low_cost_radio(snr_db: float, bound: float) -> None:
    assert loss_db(Link(snr_db, noisy_phase=True)) < bound


@pytest.mark.parametrize(("snr_db", "bound"), [(20.0, 0.4), (5.0, 0.3), (-5.0, 0.4)])
@pytest.mark.parametrize("spread_hz", [5.0, 100.0])
def test_rician_fading(snr_db: float, bound: float, spread_hz: float) -> None:
    assert loss_db(Link(snr_db, k_db=10, spread_hz=spread_hz), tiles=32, frames=2) < bound


def test_dc_offset_and_iq_imbalance() -> None:
    link = Link(20, cfo=0.003, dc=0.05 - 0.02j, image_db=-30, bits=14)
    assert loss_db(link, tiles=32, frames=2) < 0.3


def test_12_bit_quantisation() -> None:
    assert loss_db(Link(20, bits=12)) < 0.2


@pytest.mark.parametrize(("snr_db", "bound"), [(15.0, 0.5), (0.0, 0.4), (-5.0, 0.6)])
def test_everything_at_once(snr_db: float, bound: float) -> None:
    rng = np.random.default_rng(5)
    trials = [one(working_range(snr_db, rng), 16, rng) for _ in range(4)]
    assert all(trial.detections >= 1 for trial in trials)
    assert all(trial.wrong == 0 for trial in trials)
    assert np.mean([trial.ideal_db - trial.snr_db for trial in trials if trial.frame]) < bound


@pytest.mark.parametrize("snr_db", [-8.0, -3.0, 5.0, 15.0, 25.0])
def test_snr_estimate(snr_db: float) -> None:
    """Bias 0.2 dB, standard deviation 0.5 dB, and five standard errors of the mean of six frames."""
    rng = np.random.default_rng(6)
    errors = []
    for _ in range(6):
        trial = one(Link(snr_db, cfo=rng.uniform(-0.08, 0.08), clock_ppm=rng.uniform(-50, 50)), 32, rng)
        assert trial.frame is not None
        errors.append(trial.frame.report.snr_db - snr_db)
    assert np.mean(errors) == pytest.approx(0, abs=0.2 + 5 * 0.5 / np.sqrt(6) * (1 if snr_db < 0 else 0.2))


def test_noise_variance_is_that_of_the_symbols() -> None:
    trial = one(Link(5, k_db=10, spread_hz=50), 32, np.random.default_rng(7))
    assert trial.frame is not None
    error = np.abs(trial.frame.symbols - trial.payload) ** 2
    assert np.mean(error / trial.frame.noise_variance) == pytest.approx(1, abs=0.15)
    strong = trial.frame.noise_variance < np.median(trial.frame.noise_variance)
    assert error[strong].mean() < 0.8 * error[~strong].mean()
