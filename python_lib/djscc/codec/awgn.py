# SPDX-License-Identifier: GPL-3.0-or-later
"""A codec over AWGN with a receiver that knows the noise: what the rate model is fitted to and the benchmark measures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from djscc.codec.codec import Codec


def add_noise(symbols: NDArray[np.complex64], variance: float, rng: np.random.Generator) -> NDArray[np.complex64]:
    """Add circular complex Gaussian noise of ``variance`` to symbols of any shape."""
    noise = rng.standard_normal((*symbols.shape, 2), np.float32).view(np.complex64)[..., 0]
    return (symbols + noise * np.sqrt(variance / 2)).astype(np.complex64)


def squared_error(
    codec: Codec,
    tiles: NDArray[np.uint8],
    layers: int,
    snr_db: float,
    rng: np.random.Generator,
    told_db: float | None = None,
    kept: int | None = None,
) -> NDArray[np.float32]:
    """Mean squared error of each tile in grey levels of 255, (N,); ``kept`` is how many of the layers arrive."""
    sent = codec.encode(tiles, layers, told_db)
    variance = 10 ** (-snr_db / 10)
    received = np.ones(sent.shape, bool)
    if kept is not None:
        received[:, kept * sent.shape[1] // layers :] = False
    arrived = add_noise(sent, variance, rng)
    decoded = codec.decode(arrived, np.full(sent.shape, variance, np.float32), received, *tiles.shape[1:3])
    return ((decoded.astype(np.float32) - tiles) ** 2).mean((1, 2, 3))
