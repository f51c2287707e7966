# SPDX-License-Identifier: GPL-3.0-or-later
"""Terminated convolutional code of constraint length 15 with a soft-decision Viterbi decoder, for the header.

The code is NASA's rate 1/6 code of constraint length 15 (Cassini, Mars Pathfinder; JPL TDA Progress Report 42-104).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.format import Bits

CONSTRAINT_LENGTH = 15
TAIL_BITS = CONSTRAINT_LENGTH - 1
GENERATORS = (0o46321, 0o51271, 0o63667, 0o70535, 0o73277, 0o76513)

_HALF = 1 << (TAIL_BITS - 1)


def _parity(words: NDArray[np.int64]) -> NDArray[np.int64]:
    for shift in (8, 4, 2, 1):
        words = words ^ (words >> shift)
    return words & 1


def encode(bits: Bits, outputs: int) -> Bits:
    """Code ``bits`` (n,) into (n + TAIL_BITS, outputs); from the seventh output on the generators are used again."""
    padded = np.concatenate([np.zeros(TAIL_BITS, np.int64), bits.astype(np.int64), np.zeros(TAIL_BITS, np.int64)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, CONSTRAINT_LENGTH)
    words = windows @ (1 << np.arange(CONSTRAINT_LENGTH))
    columns = [_parity(words & generator) for generator in GENERATORS]
    return np.stack([columns[i % len(columns)] for i in range(outputs)], axis=1).astype(np.uint8)


def _bezout(a: int, b: int) -> tuple[int, int]:
    """Polynomials x, y over GF(2), as bits, with a x + b y = 1 (extended Euclid; a and b have no common factor)."""
    x, next_x, y, next_y = 1, 0, 0, 1
    while b:
        quotient, rest = 0, a
        while rest.bit_length() >= b.bit_length():
            shift = rest.bit_length() - b.bit_length()
            quotient |= 1 << shift
            rest ^= b << shift
        a, b = b, rest
        x, next_x = next_x, x ^ _times(quotient, next_x)
        y, next_y = next_y, y ^ _times(quotient, next_y)
    return x, y


def _times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a, b = a << 1, b >> 1
    return product


def _taps(polynomial: int) -> NDArray[np.int64]:
    """Coefficients from D^0 on."""
    return np.array([polynomial >> i & 1 for i in range(polynomial.bit_length())], np.int64)


def _reversed(generator: int) -> int:
    """The generator as a polynomial in the delay D; its highest bit taps the newest input."""
    return int(format(generator, f"0{CONSTRAINT_LENGTH}b")[::-1], 2)


_INVERSE = [_taps(p) for p in _bezout(_reversed(GENERATORS[0]), _reversed(GENERATORS[1]))]

# Output bits, as one number, of each butterfly: of the even predecessor 2m on input 0. Each generator taps the newest and
# the oldest bit, so that input 1 or predecessor 2m + 1 inverts all of them: one branch metric a butterfly, with a sign.
_PATTERNS = sum(
    _parity(2 * np.arange(_HALF, dtype=np.int64) & generator) << i for i, generator in enumerate(GENERATORS)
)
_SIGNS = 1 - 2 * ((np.arange(1 << len(GENERATORS))[:, None] >> np.arange(len(GENERATORS))) & 1)


def _fold(soft: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of the copies of each generator's output, (n, 6)."""
    folded = np.zeros((len(soft), len(GENERATORS)), np.float32)
    for i in range(soft.shape[1]):
        folded[:, i % len(GENERATORS)] += soft[:, i]
    return folded


def invert(soft: NDArray[np.float32]) -> Bits:
    """The bits if there are no errors in the first two outputs: the code's inverse, cheap, for a check by CRC to confirm."""
    hard = (_fold(soft)[:, :2] < 0).astype(np.int64)
    bits = np.sum([np.convolve(hard[:, i], taps)[: len(soft)] for i, taps in enumerate(_INVERSE)], axis=0)
    return (bits & 1).astype(np.uint8)[: len(soft) - TAIL_BITS]


def decode(soft: NDArray[np.float32]) -> Bits:
    """Most likely bits (n,) for soft outputs (n + TAIL_BITS, outputs), positive where a 0 is likelier (Viterbi)."""
    steps = len(soft)
    tables = _fold(soft) @ _SIGNS.T.astype(np.float32)
    metric = np.full(2 * _HALF, -1e30, np.float32)
    metric[0] = 0
    choices = np.empty((steps, 2, _HALF), bool)
    pair, even, odd = (np.empty((2, _HALF), np.float32) for _ in range(3))
    branch = np.empty(_HALF, np.float32)
    for step in range(steps):
        tables[step].take(_PATTERNS, out=branch, mode="clip")
        np.copyto(pair, metric.reshape(_HALF, 2).T)
        np.add(pair[0], branch, out=even[0])
        np.subtract(pair[0], branch, out=even[1])
        np.subtract(pair[1], branch, out=odd[0])
        np.add(pair[1], branch, out=odd[1])
        np.greater(odd, even, out=choices[step])
        np.maximum(even, odd, out=metric.reshape(2, _HALF))
    bits = np.empty(steps, np.uint8)
    state = 0
    for step in range(steps - 1, -1, -1):
        symbol, butterfly = divmod(state, _HALF)
        bits[step] = symbol
        state = 2 * butterfly + int(choices[step, symbol, butterfly])
    return bits[: steps - TAIL_BITS]
