# SPDX-License-Identifier: GPL-3.0-or-later
"""What channels are made of: stages that pass samples on, and endless sequences that do not depend on chunking."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex64]
Float = NDArray[np.float64]


class Stream(ABC):
    """A sequence along the last axis, made block by block; what ``take`` returns depends only on the place in it."""

    def __init__(self) -> None:
        self._block: NDArray[Any] = np.empty(0)
        self._used = 0

    @abstractmethod
    def _next_block(self) -> NDArray[Any]:
        """The next block, of a size of the sequence's own choosing (one or more)."""

    def take(self, count: int) -> NDArray[Any]:
        """The next ``count`` values, to be read only."""
        parts = []
        while count > 0:
            if self._used == self._block.shape[-1]:
                self._block, self._used = self._next_block(), 0
            part = self._block[..., self._used : self._used + count]
            self._used += part.shape[-1]
            count -= part.shape[-1]
            parts.append(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, -1) if parts else self._block[..., :0]


class Stage(ABC):
    """One thing that happens to samples on their way; keeps its own place in the stream."""

    lag = 0
    """Samples that must follow the last one before all of it has come out."""

    @abstractmethod
    def push(self, samples: Complex) -> Complex:
        """Take any number of samples, return those that are decided; the samples taken are left as they are."""


def random_generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator for one purpose: what one part of a channel draws does not change what another part draws."""
    return np.random.Generator(np.random.SFC64([seed, zlib.crc32(purpose.encode())]))


def complex_normal(generator: np.random.Generator, count: int, variance: float = 1.0) -> Complex:
    """``count`` draws of CN(0, variance). Draws follow one another: calls for 3 and then 5 give what one for 8 gives."""
    parts = generator.standard_normal(2 * count, dtype=np.float32)
    parts *= np.float32(np.sqrt(variance / 2))
    return parts.view(np.complex64)


def phasor(cycles: Float) -> Complex:
    """exp(j 2 pi cycles). Double precision goes in, so that large phases keep their fraction."""
    angle = ((cycles - np.rint(cycles)) * (2 * np.pi)).astype(np.float32)
    result = np.empty(angle.shape, np.complex64)
    np.cos(angle, out=result.real)
    np.sin(angle, out=result.imag)
    return result
