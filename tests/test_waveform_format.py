# SPDX-License-Identifier: GPL-3.0-or-later
"""The format on the air is frozen: a change here is a new FORMAT_VERSION, never an edit of these digests."""

import hashlib

import numpy as np
import pytest
from djscc.waveform import FrameHeader, Modulator, WaveformError, WaveformSettings
from djscc.waveform import format as fmt
from djscc.waveform.header import HEADER_SYMBOLS
from djscc.waveform.impairments import delayed
from djscc.waveform.modulator import compose, encode_header
from djscc.waveform.payload import from_air, to_air
from djscc.waveform.trial import example_header, gaussian


def digest(symbols: np.ndarray) -> str:
    """Hash of symbols to three decimals: the same on any machine."""
    parts = np.stack([symbols.real, symbols.imag]).astype(np.float64)
    return hashlib.sha256(np.rint(parts * 1000).astype("<i4").tobytes()).hexdigest()[:16]


def test_constants_are_frozen() -> None:
    values = (
        fmt.FORMAT_VERSION,
        fmt.CHIRP_SYMBOLS,
        fmt.PILOT_SYMBOLS,
        fmt.DATA_SYMBOLS,
        fmt.TAIL_SYMBOLS,
        round(fmt.BOOST**2, 6),
        HEADER_SYMBOLS,
        fmt.MAX_TILES,
        fmt.MAX_PAYLOAD_SYMBOLS,
    )
    assert values == (1, 512, 8, 320, 64, 3.0, 1270, 1024, 2**20)


def test_known_symbols_are_frozen() -> None:
    assert digest(fmt.preamble()) == "57d69e007403138c"
    assert digest(fmt.pilots(300)) == "b368007cfea4fd16"
    assert digest(fmt.tail_pilots()) == "dd544f297e528e4c"


def test_header_symbols_are_frozen() -> None:
    header = FrameHeader(0x1234ABCD, 0x89ABCDEF, 513, 70, 5000, (3, 17, 255), 77, 100, 50, 5, 3000, 2000, 99)
    assert digest(encode_header(header)) == "1bde21115111d2cb"


def test_interleaver_and_scrambler_are_frozen() -> None:
    assert hashlib.sha256(fmt.interleaver(65536, 7).astype("<i8").tobytes()).hexdigest()[:16] == "951626b745d1cbec"
    assert digest(fmt.scrambler(1000, 7)) == "fdedac593ebaa0a7"


def test_payload_on_the_air_is_frozen() -> None:
    payload = (np.arange(1000) * np.exp(1j * np.arange(1000)) / 577).astype(np.complex64)
    assert digest(np.round(to_air(payload, 9), 1)) == "a6e627ab841d83b8"


@pytest.mark.parametrize("length", [1, 31, 32, 33, 1024, 5000])
def test_payload_comes_back_from_the_air(length: int) -> None:
    payload = gaussian(length, np.random.default_rng(1))
    variance = np.ones(length, np.float32)
    symbols, back_variance, received = from_air(to_air(payload, 3), variance, np.ones(length, bool), 3)
    assert np.abs(symbols - payload).max() < 1e-5
    assert received.all()
    assert np.array_equal(back_variance, variance)


def test_heavy_tailed_payload_is_sent_without_its_peaks() -> None:
    """A learned codec's symbols: kurtosis near 6. Spread, they are near the Gaussian's 2."""
    rng = np.random.default_rng(4)
    header = example_header(16)
    payload = gaussian(header.payload_symbols, rng) * rng.exponential(1, header.payload_symbols)
    payload = (payload / np.sqrt(np.mean(np.abs(payload) ** 2))).astype(np.complex64)
    assert np.mean(np.abs(payload) ** 4) > 5
    assert np.mean(np.abs(to_air(payload, 1)) ** 4) < 2.7
    assert np.abs(Modulator().modulate(header, payload)).max() <= 1 + 1e-6


@pytest.mark.parametrize("length", [1, 2, 3, 1024, 65536, 65537, 99991])
def test_interleaver_is_a_permutation(length: int) -> None:
    assert np.array_equal(np.sort(fmt.interleaver(length, 3)), np.arange(length))


def test_interleaver_spreads_a_lost_stretch_evenly() -> None:
    lost = fmt.interleaver(65536, 5)[20000:26000]
    per_tile = np.bincount(lost // 1024, minlength=64)
    assert per_tile.max() - per_tile.min() <= 9  # of 94


@pytest.mark.parametrize("roll_off", [0.2, 0.25, 0.35])
@pytest.mark.parametrize("samples_per_symbol", [2, 4, 5])
def test_pulse_meets_nyquist(roll_off: float, samples_per_symbol: int) -> None:
    pulse = fmt.rrc_pulse(samples_per_symbol, roll_off)
    both = np.convolve(pulse, pulse)
    centre = both.size // 2
    others = np.delete(both[centre % samples_per_symbol :: samples_per_symbol], centre // samples_per_symbol)
    assert np.sum(pulse**2) == pytest.approx(1)
    assert np.sum(others**2) < 10**-5.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symbol_rate", 0.0),
        ("symbol_rate", float("nan")),
        ("samples_per_symbol", 1),
        ("samples_per_symbol", 2.5),
        ("roll_off", 0.9),
        ("back_off_db", -1),
    ],
)
def test_wrong_settings_name_the_value(name: str, value: float) -> None:
    with pytest.raises(WaveformError, match=f"{name} is {value}"):
        WaveformSettings(**{name: value})


def test_a_whole_number_of_samples_may_be_a_float() -> None:
    settings = WaveformSettings(1e6, 2e6 / 1e6)  # type: ignore[arg-type]
    assert settings == WaveformSettings() and isinstance(settings.samples_per_symbol, int)
    for value in (float("nan"), None, "2"):
        with pytest.raises(WaveformError, match="samples_per_symbol is"):
            WaveformSettings(1e6, value)  # type: ignore[arg-type]


def test_default_frame_spends_at_most_6_percent_on_overhead() -> None:
    header = example_header(64)
    assert 1 - header.payload_symbols / Modulator().on_air_symbols(header) <= 0.06


def test_on_air_symbols_are_the_samples_sent() -> None:
    header = example_header(3)
    samples = Modulator().modulate(header, gaussian(header.payload_symbols, np.random.default_rng(1)))
    assert abs(samples.size - 2 * Modulator().on_air_symbols(header)) <= 2


def test_scale_is_fixed_and_envelope_bounded() -> None:
    rng = np.random.default_rng(2)
    header = example_header(8)
    for scale in (0.5, 1.0, 4.0):
        samples = Modulator().modulate(header, scale * gaussian(header.payload_symbols, rng))
        assert np.abs(samples).max() <= 1 + 1e-6
    settings = WaveformSettings()
    samples = Modulator().modulate(header, gaussian(header.payload_symbols, rng))
    payload = samples[2 * (24 + 1024 + 1400) : -2 * 100]
    assert np.mean(np.abs(payload) ** 2) == pytest.approx(settings.mean_power, rel=0.02)


def test_preamble_and_header_stay_under_full_scale_between_samples() -> None:
    header = encode_header(example_header(1))
    for roll_off in (0.25, 0.35):
        fine = WaveformSettings(samples_per_symbol=8, roll_off=roll_off)
        envelope = np.abs(Modulator(fine)._shape(compose(header)))
        assert np.mean(envelope > 0.999) < 0.01


@pytest.mark.parametrize(("size", "match"), [(1023, "shape"), (1025, "shape")])
def test_wrong_payload_size_is_refused(size: int, match: str) -> None:
    with pytest.raises(WaveformError, match=match):
        Modulator().modulate(example_header(1), np.ones(size, np.complex64))


def test_payload_that_is_not_finite_is_refused() -> None:
    payload = np.ones(1024, np.complex64)
    payload[5] = np.nan
    with pytest.raises(WaveformError, match="not finite"):
        Modulator().modulate(example_header(1), payload)


def test_delay_for_the_tests_is_exact() -> None:
    """The impairment that all loss figures rest on: there and back again leaves the signal."""
    header = example_header(2)
    samples = Modulator().modulate(header, gaussian(header.payload_symbols, np.random.default_rng(3)))
    there = delayed(samples, 100.37)
    back = delayed(there, 28 - 0.37)[128 : 128 + samples.size]
    error = np.mean(np.abs(back - samples) ** 2) / np.mean(np.abs(samples) ** 2)
    assert error < 10**-4.5
