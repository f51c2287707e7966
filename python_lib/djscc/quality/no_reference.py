# SPDX-License-Identifier: GPL-3.0-or-later
"""Estimate PSNR and LPIPS of a received tile where the ground has no original.

A quadratic regression on what the receiver knows: the texture of the received tile at several scales, how much of the codec's
symbols arrived (the ratio, less erasures), and how reliable they were (from the receiver's noise estimate). A tile does not
show what the codec took from it, but among tiles of one kind of imagery the busy ones lose more. The regression is fitted to
a codec's decoder (``python -m djscc.quality.no_reference_fit``) and lies in the codec's folder; for a codec that has none, or whose
weights have changed since, nothing is estimated.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.codec import Codec
from djscc.quality import ESTIMATES
from djscc.quality.metrics import PSNR_CEILING_DB

FILE = "no_reference.json"
TERMS = 78  # all products of up to two of eleven features
SMALLEST = 16  # pixels a side
LEAST_SHARE = 1e-3  # of symbols and of reliability, so that logarithms stay finite


def texture(tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, 8) logarithms of what the grey of (N, H, W, C) tiles does: its variance; its mean squared gradient at three scales; the
    variance within blocks of 4 and of 8 pixels, each as mean and deviation over the blocks. At least 16 x 16 pixels."""
    grey = tiles.astype(np.float32).mean(3) / 255
    columns = [_log(grey.var((1, 2)))]
    image = grey
    for _ in range(3):
        across, down = np.diff(image, axis=2), np.diff(image, axis=1)
        columns.append(_log((across * across).mean((1, 2)) + (down * down).mean((1, 2))))
        image = _shrink(image, 2)
    mean, square = _shrink(grey, 4), _shrink(grey * grey, 4)
    for last in (False, True):
        of_blocks = _log(np.maximum(square - mean * mean, 0)).reshape(len(tiles), -1)
        columns += [of_blocks.mean(1), of_blocks.std(1)]
        if not last:
            mean, square = _shrink(mean, 2), _shrink(square, 2)
    return np.stack(columns, 1).astype(np.float64)


def _log(power: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.log(power + np.float32(1e-6))


def _shrink(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means of blocks; rows and columns that fill none are left out."""
    n, height, width = len(image), image.shape[1] // factor, image.shape[2] // factor
    whole = image[:, : height * factor, : width * factor]
    return whole.reshape(n, height, factor, width, factor).mean((2, 4))


def features(
    tiles: NDArray[np.uint8], share: NDArray[np.float64], reliability: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, 11) for received tiles (N, H, W, C).

    Args:
        tiles: as decoded.
        share: symbols that arrived, as a share of all that the codec has for a tile, (N,).
        reliability: mean over those of 1 / (1 + noise variance), (N,).
    """
    reliability = np.clip(reliability, LEAST_SHARE, 1 - LEAST_SHARE)
    side = [
        np.log2(np.maximum(share, LEAST_SHARE)) / 3,
        np.log(reliability / (1 - reliability)) / 4,
        2 * reliability - 1,
    ]
    return np.column_stack([texture(tiles) / 5, *side])


def terms(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """All products of up to two features."""
    base = np.column_stack([np.ones(len(values)), values])
    i, j = np.triu_indices(base.shape[1])
    return base[:, i] * base[:, j]


@dataclass(frozen=True)
class NoReferenceModel:
    """Coefficients (terms, 2) of the logarithms of mean squared error and LPIPS; ``range`` (2, 2) bounds both logarithms."""

    coefficients: NDArray[np.float64]
    range: NDArray[np.float64]

    def estimate(
        self, tiles: NDArray[np.uint8], share: NDArray[np.float64], reliability: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """``psnr_est_db`` and ``lpips_est`` of each tile; arguments as of :func:`features`."""
        logarithms = np.clip(terms(features(tiles, share, reliability)) @ self.coefficients, *self.range)
        psnr = np.minimum(-10 / np.log(10) * logarithms[:, 0], PSNR_CEILING_DB)
        return dict(zip(ESTIMATES, (psnr, np.exp(logarithms[:, 1])), strict=True))

    @staticmethod
    def fit(
        values: NDArray[np.float64], mse: NDArray[np.float64], lpips: NDArray[np.float64], ridge: float = 1e-6
    ) -> NoReferenceModel:
        """Least squares over tiles of known ``mse`` and ``lpips`` with ``features`` (N, 11)."""
        rows, targets = terms(values), np.log(np.column_stack([mse, lpips]) + 1e-7)
        normal = rows.T @ rows / len(rows) + ridge * np.eye(rows.shape[1])
        coefficients = np.linalg.solve(normal, rows.T @ targets / len(rows))
        return NoReferenceModel(coefficients, np.quantile(targets, (0.0005, 0.9995), axis=0))

    def to_dict(self) -> dict[str, Any]:
        return {
            "coefficients": [[float(f"{v:.7g}") for v in row] for row in self.coefficients],
            "range": [[float(f"{v:.7g}") for v in row] for row in self.range],
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> NoReferenceModel:
        return NoReferenceModel(np.array(data["coefficients"], np.float64), np.array(data["range"], np.float64))


@lru_cache(maxsize=64)
def _load(folder: Path, codec_id: str, decoder_sha256: str) -> NoReferenceModel | None:
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text())
        entry = data["decoders"].get(decoder_sha256) if data["codec_id"] == codec_id else None
        model = None if entry is None else NoReferenceModel.from_dict(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        model = None
        problem = f"cannot be read ({error!r})"
    else:
        if model is None or (model.coefficients.shape == (TERMS, 2) and model.range.shape == (2, 2)):
            return model
        problem = "was made for other features"
    # nothing that is received may be lost for want of an estimate
    warnings.warn(f"{file}: {problem}; quality is not estimated. Remove it, or fit it again", stacklevel=2)
    return None


def model_of(codec: Codec) -> NoReferenceModel | None:
    """The regression of a codec with its decoder; None where there is none for these weights."""
    return _load(codec.folder, f"{codec.id:08x}", codec.decoder_sha256)


def side_information(
    codec: Codec, layers: Sequence[int], noise_variance: NDArray[np.float32], known: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the codec's symbols that arrived and their mean reliability, for each tile of a frame.

    Args:
        layers: of each tile.
        noise_variance: of each symbol of the frame, tile after tile.
        known: which of them arrived.
    """
    lengths = np.array(layers, dtype=np.int64) * (len(known) // sum(layers))
    starts = np.cumsum(lengths) - lengths
    count = np.add.reduceat(known.astype(np.float64), starts)
    reliable = np.add.reduceat(np.where(known, 1 / (1 + np.maximum(noise_variance, 0)), 0).astype(np.float64), starts)
    return count / lengths * np.array(layers) / codec.layers, reliable / np.maximum(count, 1)


def estimate(
    codec: Codec,
    tiles: NDArray[np.uint8],
    layers: Sequence[int],
    noise_variance: NDArray[np.float32],
    known: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """``psnr_est_db`` and ``lpips_est`` of a frame's tiles (N, H, W, C); empty where the codec has no regression."""
    model = model_of(codec)
    if model is None or not len(known) or min(tiles.shape[1:3]) < SMALLEST:
        return {}
    return model.estimate(tiles, *side_information(codec, layers, noise_variance, known))
