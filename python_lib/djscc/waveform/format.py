# SPDX-License-Identifier: GPL-3.0-or-later
"""Every constant on the air: preamble, header, pilots, pulse, scale. `tests/test_waveform_format.py` freezes them.

A frame is one burst of single-carrier symbols with a root-raised-cosine pulse::

    [ pulse tail | up-chirp | down-chirp | (pilots, data) (pilots, data) ... | tail pilots | pulse tail ]

The data are the protected header, its extension where the frame needs one, and the payload. Amplitudes are relative to
the payload, whose symbols have mean power 1 before ``WaveformSettings.scale``: chirps and header are sent 4.8 dB above the
payload. Their symbols have a constant envelope, so that with this boost they peak where the payload is clipped, and a
transmitter that is limited by its peak power sends them at no cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.errors import DjsccError

Complex = NDArray[np.complex64]
Float = NDArray[np.float64]
Integer = NDArray[np.int64]
Bits = NDArray[np.uint8]

FORMAT_VERSION = 1

CHIRP_SYMBOLS = 512  # of each of the two chirps of the preamble
PREAMBLE_SYMBOLS = 2 * CHIRP_SYMBOLS
BOOST = math.sqrt(3)  # amplitude of preamble and header over the payload's rms: 4.8 dB

PILOT_SYMBOLS = 8  # of one pilot block
DATA_SYMBOLS = 320  # header or payload symbols between two pilot blocks
BLOCK_SYMBOLS = PILOT_SYMBOLS + DATA_SYMBOLS
TAIL_SYMBOLS = 64  # pilots at the end of a frame
SPREAD_SYMBOLS = 32  # payload symbols that are mixed with one another against peaks

PULSE_SPAN = 24  # symbols on either side of the pulse's centre
MAX_TILES = 1024  # of a frame
TEST_CODEC_ID = 0x50524253  # "PRBS": no codec's; the payload is known symbols
MAX_PAYLOAD_SYMBOLS = 2**20  # of a frame: bounds the receiver's memory

_PILOT_KEY = 0x5049
_TAIL_KEY = 0x5441
_HEADER_KEY = 0x4845


class WaveformError(DjsccError):
    """A header, setting or payload that the waveform cannot carry."""


@dataclass(frozen=True)
class WaveformSettings:
    """What transmitter and receiver must agree on beforehand.

    symbol_rate        symbols per second.
    samples_per_symbol integer, 2 or more.
    roll_off           excess bandwidth of the root-raised-cosine pulse, 0.1 to 0.5.
    back_off_db        peak envelope power over the payload's mean power. Samples never exceed an envelope of 1, the full
                       scale of a radio; what would is clipped. 9 dB clips 4 in 10,000 samples of a Gaussian payload.
    """

    symbol_rate: float = 1e6
    samples_per_symbol: int = 2
    roll_off: float = 0.25
    back_off_db: float = 9.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.symbol_rate) and self.symbol_rate > 0):
            raise WaveformError(f"symbol_rate is {self.symbol_rate}: give symbols per second, above 0")
        if self.samples_per_symbol not in range(2, 17):
            raise WaveformError(f"samples_per_symbol is {self.samples_per_symbol}: give a whole number from 2 to 16")
        object.__setattr__(self, "samples_per_symbol", int(self.samples_per_symbol))  # 2.0 is 2
        if not 0.1 <= self.roll_off <= 0.5:
            raise WaveformError(f"roll_off is {self.roll_off}: give 0.1 to 0.5, such as 0.2, 0.25 or 0.35")
        if not 0 <= self.back_off_db <= 30:
            raise WaveformError(f"back_off_db is {self.back_off_db}: give 0 to 30 dB")

    @property
    def sample_rate(self) -> float:
        """Samples per second."""
        return self.symbol_rate * self.samples_per_symbol

    @property
    def mean_power(self) -> float:
        """Mean sample power while payload of mean symbol power 1 is sent: Es/N0 refers to it.

        Noise of variance ``mean_power * samples_per_symbol / (Es/N0)`` a sample gives an Es/N0 a payload symbol. The mean
        over a whole default frame is 0.3 dB higher, because of the boosted preamble and header.
        """
        return 10 ** (-self.back_off_db / 10)

    @property
    def scale(self) -> float:
        """Amplitude of unit-energy-pulse samples for symbols of power 1."""
        return math.sqrt(self.mean_power * self.samples_per_symbol)

    def to_dict(self) -> dict[str, Any]:
        """The settings by name, for a log."""
        return {
            "symbol_rate": self.symbol_rate,
            "samples_per_symbol": self.samples_per_symbol,
            "roll_off": self.roll_off,
            "back_off_db": self.back_off_db,
        }


def rrc_response(frequency: Float, roll_off: float) -> Float:
    """Frequency response of the root-raised-cosine pulse, 1 in the flat part; frequency in cycles per symbol."""
    edge = np.clip((np.abs(frequency) - (1 - roll_off) / 2) / roll_off, 0, 1)
    return np.cos(np.pi / 2 * edge)


def rrc_pulse(samples_per_symbol: int, roll_off: float) -> Float:
    """Root-raised-cosine pulse of unit energy, ``2 * PULSE_SPAN * samples_per_symbol + 1`` taps (Proakis, eq. 9.2-31).

    Computed as the cosine series of the frequency response over a period of four spans, then cut to the span.
    """
    period = 8 * PULSE_SPAN * samples_per_symbol
    response = rrc_response(np.fft.fftfreq(period, 1 / samples_per_symbol), roll_off)
    pulse = np.roll(np.fft.ifft(response).real, PULSE_SPAN * samples_per_symbol)
    pulse = pulse[: 2 * PULSE_SPAN * samples_per_symbol + 1]
    return pulse / math.sqrt(float(np.sum(pulse**2)))


def turn(cycles: Float) -> Complex:
    """exp(2j pi cycles), precise for many cycles, computed in single precision."""
    angle = (cycles - np.rint(cycles)).astype(np.float32)
    angle *= np.float32(2 * np.pi)
    result = np.empty(cycles.shape, np.complex64)
    np.cos(angle, out=result.real)
    np.sin(angle, out=result.imag)
    return result


def hash32(key: int, count: int, start: int = 0) -> NDArray[np.uint32]:
    """Pseudo-random words number ``start`` to ``start + count - 1`` of stream ``key`` (splitmix64, upper half).

    Defined by integer arithmetic alone, so that it is the same on the air whatever library computes it.
    """
    with np.errstate(over="ignore"):
        z = np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(key) * np.uint64(0xD1342543DE82EF95)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z >> np.uint64(32)).astype(np.uint32)


_ROTATIONS = np.array([1, 1j, -1, -1j], np.complex64)
_QPSK = np.array([1 + 1j, -1 + 1j, -1 - 1j, 1 - 1j], np.complex64) / np.float32(math.sqrt(2))


def _fixed(symbols: Complex) -> Complex:
    """The same array, protected: it is kept for the next call."""
    symbols.flags.writeable = False
    return symbols


@lru_cache(maxsize=128)
def preamble() -> Complex:
    """The 1024 preamble symbols: a chirp over the whole band upwards, then the same downwards, of amplitude ``BOOST``.

    A carrier offset moves the correlation peak of the one earlier and of the other later, so that two correlators cover
    the whole range of offsets and tell offset from delay. (A single Zadoff-Chu sequence confuses the two.)
    """
    n = np.arange(CHIRP_SYMBOLS)
    up = np.exp(1j * np.pi * (n - CHIRP_SYMBOLS / 2) ** 2 / CHIRP_SYMBOLS)
    return _fixed((BOOST * np.concatenate([up, up.conj()])).astype(np.complex64))


@lru_cache(maxsize=128)
def pilots(blocks: int, start: int = 0) -> Complex:
    """QPSK pilots (blocks, PILOT_SYMBOLS) from block number ``start`` on; no two blocks are alike."""
    words = hash32(_PILOT_KEY, blocks * PILOT_SYMBOLS, start * PILOT_SYMBOLS)
    return _fixed(_QPSK[words >> np.uint32(30)].reshape(blocks, PILOT_SYMBOLS))


@lru_cache(maxsize=128)
def tail_pilots() -> Complex:
    """The QPSK pilots that end a frame."""
    return _fixed(_QPSK[hash32(_TAIL_KEY, TAIL_SYMBOLS) >> np.uint32(30)])


@lru_cache(maxsize=128)
def header_mask(bits: int) -> Bits:
    """Pseudo-random bits that are added to the coded header."""
    mask = (hash32(_HEADER_KEY, bits) >> np.uint32(31)).astype(np.uint8)
    mask.flags.writeable = False
    return mask


def data_blocks(data_symbols: int) -> int:
    """Pilot blocks of a frame with so many header and payload symbols."""
    return -(-data_symbols // DATA_SYMBOLS)


def frame_symbols(data_symbols: int) -> int:
    """Symbols from the first of the preamble to the last of the tail."""
    return PREAMBLE_SYMBOLS + data_blocks(data_symbols) * PILOT_SYMBOLS + data_symbols + TAIL_SYMBOLS


def interleaver(length: int, seed: int) -> Integer:
    """Payload index of each of ``length`` symbols on the air.

    Steps by the golden section of the length, so that any lost stretch is spread evenly over all tiles.
    """
    step = max(1, round(length * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, length) != 1:
        step += 1
    return (np.arange(length, dtype=np.int64) * step + int(hash32(seed, 1)[0]) % max(length, 1)) % max(length, 1)


def scrambler(length: int, seed: int) -> Complex:
    """Rotations by quarter turns that whiten the payload and make it proper, whatever the codec's symbols are."""
    return _ROTATIONS[hash32(seed, length, 1) >> np.uint32(30)]
