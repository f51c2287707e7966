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


# Output bits, as one number, of each butterfly: of the even predecessor 2m on input 0. Each generator taps the newest and
# the oldest bit, so that input 1 or predecessor 2m + 1 inverts all of them: one branch metric a butterfly, with a sign.
_PATTERNS = sum(
    _parity(2 * np.arange(_HALF, dtype=np.int64) & generator) << i for i, generator in enumerate(GENERATORS)
)
_BRANCHES = np.stack([_PATTERNS, (1 << len(GENERATORS)) - 1 - _PATTERNS])  # on inputs 0 and 1
_SIGNS = 1 - 2 * ((np.arange(1 << len(GENERATORS))[:, None] >> np.arange(len(GENERATORS))) & 1)


def decode(soft: NDArray[np.float32]) -> Bits:
    """Most likely bits (n,) for soft outputs (n + TAIL_BITS, outputs), positive where a 0 is likelier (Viterbi)."""
    steps = len(soft)
    folded = np.zeros((steps, len(GENERATORS)), np.float32)
    for i in range(soft.shape[1]):
        folded[:, i % len(GENERATORS)] += soft[:, i]
    tables = folded @ _SIGNS.T.astype(np.float32)
    metric = np.full(2 * _HALF, -1e30, np.float32)
    metric[0] = 0
    choices = np.empty((steps, 2, _HALF), bool)
    branch, even, odd = (np.empty((2, _HALF), np.float32) for _ in range(3))
    for step in range(steps):
        tables[step].take(_BRANCHES, out=branch, mode="clip")
        np.add(metric[0::2], branch, out=even)
        np.subtract(metric[1::2], branch, out=odd)
        np.greater(odd, even, out=choices[step])
        np.maximum(even, odd, out=metric.reshape(2, _HALF))
    bits = np.empty(steps, np.uint8)
    state = 0
    for step in range(steps - 1, -1, -1):
        symbol, butterfly = divmod(state, _HALF)
        bits[step] = symbol
        state = 2 * butterfly + int(choices[step, symbol, butterfly])
    return bits[: steps - TAIL_BITS]
