# SPDX-License-Identifier: GPL-3.0-or-later
"""Fading against closed forms. Each test says how often a right channel would fail it under a new seed."""

import numpy as np
import pytest
from djscc.channels import ChannelError
from djscc.channels.fading import FlatFading, draw_gains
from djscc.channels.fading_parameters import Rayleigh, Rician, ShadowedRician, TwoState
from scipy import integrate, special, stats

RATE = 1000.0
DOPPLER = 25.0  # 40 values a period: every process below is interpolated
SEEDS = 32


def gains(fading, count, seed=0, rate=RATE):
    return FlatFading(fading, rate, seed).take(count)


def apart(fading, count, seed=0):
    """Gains 19.875 Doppler periods apart, near a zero of J0: neighbours' scatter is correlated by less than 0.01."""
    stride = int(19.875 * RATE / DOPPLER)
    return gains(fading, count * stride, seed)[::stride]


def per_seed(statistic, fading, count, rate=RATE):
    """Mean of a statistic over the seeds and its standard error."""
    values = np.array([statistic(gains(fading, count, seed, rate)) for seed in range(SEEDS)])
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(SEEDS)


@pytest.mark.parametrize("k_db", [None, 0.0, 10.0, 20.0])
def test_envelope_is_rayleigh_or_rician(k_db):
    """Kolmogorov-Smirnov at 1e-4."""
    fading = Rayleigh(doppler_hz=DOPPLER) if k_db is None else Rician(k_db=k_db, doppler_hz=DOPPLER)
    k = 0.0 if k_db is None else 10 ** (k_db / 10)
    power = np.abs(apart(fading, 2000)) ** 2
    assert stats.kstest(power * 2 * (k + 1), stats.ncx2(2, 2 * k).cdf if k else stats.chi2(2).cdf).pvalue > 1e-4


@pytest.mark.parametrize("k_db", [0.0, 10.0, 20.0])
def test_power_and_k(k_db):
    """Mean power and K within 4 standard errors: 1e-4 each."""
    k = 10 ** (k_db / 10)
    count = 2000
    h = apart(Rician(k_db=k_db, doppler_hz=DOPPLER), count)
    spread = np.sqrt((2 * k + 1) / (k + 1) ** 2 / count)  # of the mean of |h|^2
    assert abs(np.mean(np.abs(h) ** 2) - 1) < 4 * spread
    scatter = np.var(h)  # the line of sight stands still
    assert abs(scatter * (k + 1) - 1) < 4 / np.sqrt(count)
    assert abs(abs(np.mean(h)) - np.sqrt(k / (k + 1))) < 4 * np.sqrt(0.5 / (k + 1) / count) + 1 / count


@pytest.mark.parametrize(("k_db", "sight_hz"), [(None, 0.0), (3.0, 0.0), (3.0, 15.0), (3.0, -200.0)])
def test_autocorrelation(k_db, sight_hz):
    """J0 for the scatter, a turning constant for the line of sight; 24 lags x 2 parts at 5.5 standard errors: 3e-4."""
    fading = Rayleigh(doppler_hz=DOPPLER)
    if k_db is not None:
        fading = Rician(k_db=k_db, doppler_hz=DOPPLER, line_of_sight_doppler_hz=sight_hz)
    k = 0.0 if k_db is None else 10 ** (k_db / 10)
    lags = np.linspace(0, 4 * RATE / DOPPLER, 25).astype(int)[1:]

    def measured(h):
        return [np.mean(h[lag:] * h[: len(h) - lag].conj()) for lag in lags]

    mean, error = per_seed(lambda h: np.concatenate([np.real(measured(h)), np.imag(measured(h))]), fading, 40_000)
    scatter = special.j0(2 * np.pi * DOPPLER * lags / RATE)
    expected = (k * np.exp(2j * np.pi * sight_hz * lags / RATE) + scatter) / (k + 1)
    expected = np.concatenate([expected.real, expected.imag])
    assert np.all(np.abs(mean - expected) < 5.5 * error + 0.014 / (k + 1))  # 0.014: the window on J0 (processes.py)


@pytest.mark.parametrize(("k_db", "level"), [(None, 0.1), (None, 0.5), (None, 1.0), (6.0, 0.5), (6.0, 1.0)])
def test_level_crossings_and_fade_duration(k_db, level):
    """Rice's formulae with isotropic scatter; two values at 5 standard errors of 32 seeds: 4e-5."""
    fading = Rayleigh(doppler_hz=DOPPLER) if k_db is None else Rician(k_db=k_db, doppler_hz=DOPPLER)
    k = 0.0 if k_db is None else 10 ** (k_db / 10)
    count, fast = 600_000, 10 * RATE  # 400 values a period, so that few crossings fall between two of them

    def crossings(h):
        below = np.abs(h) < level
        return [np.sum(below[:-1] & ~below[1:]) * fast / count, np.mean(below)]

    (rate, share), error = per_seed(crossings, fading, count, fast)
    bessel = special.i0(2 * level * np.sqrt(k * (k + 1)))
    expected = np.sqrt(2 * np.pi * (k + 1)) * DOPPLER * level * np.exp(-k - (k + 1) * level**2) * bessel
    probability = stats.ncx2(2, 2 * k).cdf(2 * (k + 1) * level**2) if k else 1 - np.exp(-(level**2))
    missed = 0.01 * expected
    assert abs(rate - expected) < 5 * error[0] + missed
    assert abs(share - probability) < 5 * error[1]
    duration = probability / expected
    assert share / rate == pytest.approx(duration, rel=5 * (error[0] / rate + error[1] / share) + 0.01)


@pytest.mark.parametrize("severity", ["light", "average", "heavy"])
def test_shadowed_rician_distribution(severity):
    """Abdi's density of |h|^2, integrated; Kolmogorov-Smirnov at 1e-4."""
    fading = ShadowedRician(severity=severity, normalise=False, doppler_hz=DOPPLER, shadowing_time_s=0.2)
    b, m, omega = fading.parameters
    grid = np.linspace(0, 12 * (2 * b + omega), 4001)
    shape = (2 * b * m / (2 * b * m + omega)) ** m / (2 * b)
    density = shape * np.exp(-grid / (2 * b)) * special.hyp1f1(m, 1, omega * grid / (2 * b * (2 * b * m + omega)))
    cdf = integrate.cumulative_trapezoid(density, grid, initial=0)
    assert cdf[-1] == pytest.approx(1, abs=1e-3)
    power = np.abs(apart(fading, 2000)) ** 2
    assert stats.kstest(power, lambda x: np.interp(x, grid, cdf)).pvalue > 1e-4


@pytest.mark.parametrize(("severity", "power_db"), [("light", 2.06), ("average", 0.36), ("heavy", -8.97)])
def test_normalisation_of_shadowing_is_as_stated(severity, power_db):
    """Mean power over 200,000 independent gains within 2 %: below 1e-6 at the widest of these distributions."""
    for normalise, expected in ((False, 10 ** (power_db / 10)), (True, 1.0)):
        h = draw_gains(ShadowedRician(severity=severity, normalise=normalise), 200_000, np.random.default_rng(1))
        assert np.mean(np.abs(h) ** 2) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("elevation", "expected"), [(30, (0.0300, 0.971, 0.572)), (60, (0.0296, 9.81, 0.684)), (80, (0.0268, 27.1, 0.832))]
)
def test_elevation_fits(elevation, expected):
    assert ShadowedRician(elevation_deg=elevation).parameters == pytest.approx(expected, rel=5e-3)


def test_two_states():
    """Share, stays and mean power; three values at 5 standard errors of 32 seeds: 6e-5."""
    fading = TwoState(
        good_s=2.0, bad_s=1.0, good_k_db=20, bad_mean_db=-25, bad_std_db=3, doppler_hz=DOPPLER, shadowing_time_s=0.1
    )

    def states(h):
        bad = np.abs(h) < 0.45  # the states are 18 dB apart: fewer than 1 value in 1,000 lies on the other side
        envelope = np.convolve(bad, np.ones(9) / 9, "same") > 0.5
        return [np.mean(bad), np.sum(np.diff(envelope.astype(int)) == 1) / (len(h) / RATE), np.mean(np.abs(h) ** 2)]

    (share, entries, power), error = per_seed(states, fading, 100_000)
    assert abs(share - fading.share_of_bad) < 5 * error[0] + 0.003
    assert abs(1 / entries - 3.0) < 3.0 * (5 * error[1] / entries + 0.02)  # stays shorter than the window are missed
    assert abs(power - fading.mean_power) < 5 * error[2]
    normalised = TwoState(normalise=True)
    assert np.mean(np.abs(draw_gains(normalised, 400_000, np.random.default_rng(1))) ** 2) == pytest.approx(1, rel=0.02)


def test_seeds_and_purposes_are_independent():
    fading = Rayleigh(doppler_hz=DOPPLER)
    first = gains(fading, 4000)
    assert np.array_equal(first, gains(fading, 4000))
    for other in (gains(fading, 4000, seed=1), FlatFading(fading, RATE, 0, "tap 1").take(4000)):
        assert np.mean(np.abs(first - other) ** 2) > 0.5


def test_too_fast_a_fade_is_refused():
    with pytest.raises(ChannelError, match="up to 250 Hz"):
        FlatFading(Rayleigh(doppler_hz=300.0), RATE, 0)
