# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile samples: no crash, no hang, no accepted frame that was not sent, and the next good frame is received."""

import numpy as np
import pytest
from djscc.waveform import Modulator, Receiver, WaveformSettings
from djscc.waveform.format import Complex, preamble
from djscc.waveform.header import BASE_BITS, encode_block, parse_base, parse_header
from djscc.waveform.modulator import compose
from djscc.waveform.trial import example_header, gaussian

SETTINGS = WaveformSettings()
MODULATOR = Modulator(SETTINGS)
HEADER = example_header(4)
GOOD = MODULATOR.modulate(HEADER, gaussian(HEADER.payload_symbols, np.random.default_rng(1)))


def noise(rng: np.random.Generator, count: int) -> Complex:
    return rng.standard_normal((count, 2)).astype(np.float32).view(np.complex64)[:, 0]


HOSTILE = {
    "nan": lambda rng: np.full(60000, np.nan + 0j, np.complex64),
    "infinity": lambda rng: np.full(60000, complex(np.inf, -np.inf), np.complex64),
    "huge": lambda rng: noise(rng, 60000) * np.float32(3e37),
    "just below the limit": lambda rng: noise(rng, 60000) * np.float32(1e8),
    "denormal": lambda rng: noise(rng, 60000) * np.float32(1e-42),
    "zeros": lambda rng: np.zeros(100000, np.complex64),
    "constant": lambda rng: np.full(60000, 0.7 - 0.1j, np.complex64),
    "sprinkled": lambda rng: np.where(rng.random(60000) < 0.01, np.nan, noise(rng, 60000)).astype(np.complex64),
    "alternating": lambda rng: np.tile([1e8, -1e8], 30000).astype(np.complex64),
    "random bits": lambda rng: rng.integers(0, 256, 8 * 60000).astype(np.uint8).view(np.complex64),
    "preambles alone": lambda rng: np.tile(MODULATOR._shape(preamble()), 12),
    "preamble and noise": lambda rng: np.concatenate(
        [MODULATOR._shape(np.concatenate([preamble(), noise(rng, 4000)])) for _ in range(4)]
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_hostile_samples(kind: str) -> None:
    rng = np.random.default_rng(2)
    receiver = Receiver(SETTINGS)
    assert receiver.push(HOSTILE[kind](rng)) == []
    assert receiver.flush() == []
    assert [f.header for f in receiver.push(np.concatenate([GOOD, MODULATOR.guard()]))] == [HEADER]


def test_hostile_stretch_within_a_frame() -> None:
    rng = np.random.default_rng(3)
    for value in (np.nan, np.inf, 1e30):
        samples = np.concatenate([GOOD, MODULATOR.guard(), GOOD, MODULATOR.guard()])
        samples[7000:8000] = value
        receiver = Receiver(SETTINGS)
        got = receiver.push(samples)
        assert [f.header for f in got] == [HEADER, HEADER]
        assert np.isfinite(got[0].symbols).all()
        assert receiver.counters.invalid_samples == 1000
    assert rng is not None


def test_random_cuts_and_joins_of_frames() -> None:
    """Every frame accepted is one that was sent."""
    rng = np.random.default_rng(4)
    for _ in range(12):
        pieces = []
        for _ in range(6):
            a, b = np.sort(rng.integers(0, GOOD.size, 2))
            pieces.append(GOOD[a:b] * np.complex64(rng.uniform(0.1, 2) * np.exp(2j * np.pi * rng.random())))
        receiver = Receiver(SETTINGS)
        got = receiver.push(np.concatenate(pieces)) + receiver.flush()
        assert all(f.header == HEADER for f in got)
        assert all(np.isfinite(f.symbols).all() for f in got)


def test_random_bits_behind_a_good_crc_never_crash() -> None:
    """Whatever a stranger may send with a good CRC: parsed to a valid header, or refused."""
    rng = np.random.default_rng(5)
    for _ in range(3000):
        bits = rng.integers(0, 2, BASE_BITS).astype(np.uint8)
        bits[:4] = (0, 0, 0, 1)
        base = parse_base(bits)
        if base is not None:
            extension = rng.integers(0, 2, base.extension_bits).astype(np.uint8)
            header = parse_header(base, extension)
            assert header is None or header.payload_symbols > 0


def test_stranger_whose_header_announces_what_never_comes() -> None:
    """A good header for the longest frame, then silence: the search goes on from where the signal ended."""
    rng = np.random.default_rng(6)
    bits = np.concatenate([[0, 0, 0, 1], rng.integers(0, 2, BASE_BITS - 4)]).astype(np.uint8)
    samples = MODULATOR._shape(compose(encode_block(bits)))
    receiver = Receiver(SETTINGS)
    got = receiver.push(np.concatenate([samples, GOOD, np.zeros(100000, np.complex64)])) + receiver.flush()
    assert all(f.header == HEADER for f in got[-1:])
