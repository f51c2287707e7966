# SPDX-License-Identifier: GPL-3.0-or-later
"""Amplifiers, front ends, converters and oscillators against their formulae."""

import itertools

import numpy as np
import pytest
from djscc.channels import SampleChannel, load_channel
from djscc.channels.hardware import AmplifierStage, Converter, IqStage, useful_gain
from djscc.channels.hardware_parameters import FrontEnd, Rapp, Saleh
from djscc.channels.phase_noise import PhaseNoise, mask_level
from scipy import integrate

MASK = ((100.0, -60.0), (1e4, -90.0), (1e5, -100.0), (5e5, -125.0))


def gaussian(count, seed=0):
    parts = np.random.default_rng(seed).standard_normal((2, count))
    return ((parts[0] + 1j * parts[1]) / np.sqrt(2)).astype(np.complex64)


def saleh(r):
    return 2.1587 * r / (1 + 1.1517 * r**2) * np.exp(1j * 4.0033 * r**2 / (1 + 9.1040 * r**2))


def rapp(r, p):
    return r / (1 + r ** (2 * p)) ** (1 / (2 * p))


@pytest.mark.parametrize("backoff_db", [0.0, 6.0, 12.0])
@pytest.mark.parametrize("power", [1.0, 0.37])
def test_saleh_curves(backoff_db, power):
    """AM-AM and AM-PM from 40 dB below the mean to 10 dB above it."""
    r = np.geomspace(0.01, 3.1, 500)
    out = AmplifierStage(Saleh(backoff_db=backoff_db), power).push((r * np.sqrt(power)).astype(np.complex64))
    saturation = np.sqrt(1 / 1.1517)
    ideal = saleh(r * saturation * 10 ** (-backoff_db / 20))
    common = np.vdot(ideal, out) / np.vdot(ideal, ideal)  # a fixed complex gain is divided out
    assert np.max(np.abs(out / (common * ideal) - 1)) < 3e-5


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_rapp_curve(p):
    r = np.geomspace(0.01, 3.1, 500)
    out = AmplifierStage(Rapp(backoff_db=3.0, smoothness=p), 1.0).push((r * np.exp(0.7j)).astype(np.complex64))
    ideal = rapp(r * 10 ** (-3 / 20), p) * np.exp(0.7j)
    common = np.vdot(ideal, out) / np.vdot(ideal, ideal)
    assert np.max(np.abs(out / (common * ideal) - 1)) < 3e-5


@pytest.mark.parametrize("amplifier", [Saleh(backoff_db=6.0), Rapp(backoff_db=3.0), Rapp(backoff_db=20.0)])
def test_useful_signal_keeps_level_and_phase(amplifier):
    """E[y x*] / E|x|^2 = 1 for a Gaussian signal, within 5 standard errors of a million samples: 6e-7."""
    x = gaussian(1_000_000)
    y = AmplifierStage(amplifier, 1.0).push(x)
    assert abs(np.vdot(x, y) / np.vdot(x, x) - 1) < 5 * np.std(y - x) / 1000
    distortion = np.mean(np.abs(y - x) ** 2)
    assert distortion < (0.001 if amplifier.backoff_db == 20 else 0.2)
    assert abs(useful_gain(amplifier)) < 1


def test_iq_imbalance_gives_the_image_of_its_formula():
    """A tone at f has an image at -f: (g^2 - 2 g cos p + 1) / (g^2 + 2 g cos p + 1) below it."""
    g, p = 10 ** (1.5 / 20), np.radians(3.0)
    n = np.arange(4096)
    tone = np.exp(2j * np.pi * 0.125 * n).astype(np.complex64)
    spectrum = np.fft.fft(IqStage(FrontEnd(iq_gain_db=1.5, iq_phase_deg=3.0, dc_dbc=-30.0), 1.0).push(tone)) / 4096
    image = (g**2 - 2 * g * np.cos(p) + 1) / (g**2 + 2 * g * np.cos(p) + 1)
    assert abs(spectrum[512]) == pytest.approx(1, rel=1e-5)
    assert abs(spectrum[-512]) ** 2 == pytest.approx(image, rel=1e-4)
    assert abs(spectrum[0]) ** 2 == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("bits", [4, 8, 12])
def test_converter_noise_is_uniform_quantisation(bits):
    """Error power step^2 / 12 on I and on Q, within 3 %, well above clipping's share at 14 dB headroom for 12 bits or fewer."""
    x = gaussian(200_000)
    y = Converter(bits, 14.0, 1.0).push(x)
    step = np.sqrt(0.5) * 10 ** (14 / 20) / 2 ** (bits - 1)
    assert len(np.unique(y.real)) <= 2**bits
    assert np.mean(np.abs(y - x) ** 2) == pytest.approx(2 * step**2 / 12, rel=0.03)


def test_converter_clips_at_its_headroom():
    y = Converter(12, 3.0, 2.0).push(np.array([100 + 0j, -100j], np.complex64))
    full_scale = 10 ** (3 / 20)
    assert np.allclose([y[0].real, y[1].imag], [full_scale, -full_scale], rtol=1e-3)


@pytest.mark.parametrize("rate", [2e6, 1e5])
def test_phase_noise_follows_its_mask(rate):
    """Welch's spectrum in bands within 1 dB; a band averages 400 values or more: 5 standard errors, 6e-7 each."""
    size, count = 1 << 15, 128
    phase = np.angle(PhaseNoise(MASK, rate, 3, "test").push(np.ones(size * count, np.complex64)))
    window = np.hanning(size)
    pieces = np.fft.rfft(phase.reshape(count, size) * window, axis=1)
    density = np.mean(np.abs(pieces) ** 2, 0) / (np.sum(window**2) * rate)  # two-sided, rad^2/Hz
    frequency = np.fft.rfftfreq(size, 1 / rate)
    edges = np.geomspace(max(50, 8 * rate / size), 0.49 * rate, 18)
    for low, high in itertools.pairwise(edges):
        band = (frequency >= low) & (frequency < high)
        expected = np.mean(10 ** (mask_level(MASK, frequency[band]) / 10))
        assert 10 * np.log10(np.mean(density[band]) / expected) == pytest.approx(0, abs=1.0), (
            f"{low:.0f} to {high:.0f} Hz"
        )


def test_phase_noise_power_close_to_the_carrier():
    """Variance of the phase below 100 Hz, where the mask is level, over 20 s: 8,000 values, 8 standard errors."""
    phase = np.angle(PhaseNoise(((100.0, -50.0), (200.0, -150.0)), 1e4, 1, "test").push(np.ones(200_000, np.complex64)))
    fall = np.linspace(100, 200, 10001)
    level = mask_level(((100.0, -50.0), (200.0, -150.0)), fall)
    expected = 2 * (100 * 1e-5 + integrate.trapezoid(10 ** (level / 10), fall))
    assert np.var(phase) == pytest.approx(expected, rel=0.12)


def test_front_ends_stand_on_their_sides_of_the_link():
    """A transmitter's carrier leak is moved by the frequency offset, a receiver's is not."""
    base = {"cfo_hz": 100e3}
    n = 10_000
    silence = np.zeros(n, np.complex64)
    for side, frequency in (("transmitter", 100e3), ("receiver", 0.0)):
        channel = SampleChannel(load_channel({**base, side: {"dc_dbc": -20}}), 1e6, 2, 0.5)
        spectrum = np.abs(np.fft.fft(channel.push(silence))) / n
        assert np.argmax(spectrum) == round(frequency / 1e6 * n)
        assert spectrum.max() ** 2 == pytest.approx(0.5 * 0.01, rel=1e-4)
