# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit the rate model of a codec to its own errors; training does it last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from djscc.codec.awgn import squared_error
from djscc.codec.codec import Codec
from djscc.codec.rate import RateModel, statistics, terms

CANDIDATES = (2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48)
FIT_SNRS_DB = (-5.0, 0.0, 5.0, 12.0)


def fit_rate_model(codec: Codec, tiles: NDArray[np.uint8], seed: int = 1) -> RateModel:
    """Fit the regression to what ``codec`` does to ``tiles`` over AWGN, by least squares on the logarithm of the error."""
    rng = np.random.default_rng(seed)
    layers = tuple(n for n in CANDIDATES if n <= codec.layers)
    features = statistics(tiles)
    rows, errors = [], []
    for snr_db in FIT_SNRS_DB:
        columns = [squared_error(codec, tiles, count, snr_db, rng) / 255**2 for count in layers]
        errors.append(np.log(np.stack(columns, 1) + 1e-6))
        rows.append(terms(features, snr_db))
    coefficients, *_ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(errors), rcond=None)
    return RateModel(layers, coefficients)
