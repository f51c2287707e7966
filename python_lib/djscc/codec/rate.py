# SPDX-License-Identifier: GPL-3.0-or-later
"""Content-adaptive rate: how many layers each tile of a set gets, for a total budget of layers.

Busy tiles need symbols, flat ones hardly any. A quadratic regression on a few statistics of a tile predicts the logarithm of its
squared error for each number of layers; the budget then goes, layer by layer, to where it does most for the objective: ``mse``, the
sum of squared errors, which takes from flat tiles what busy ones need, or ``psnr``, the sum of the logarithms, which is the mean of
the tiles' PSNRs. All of this is far cheaper than the encoder, so that it runs on board. The regression is fitted to a codec's own
errors on training tiles (``djscc.codec.rate_fit``) and lies in the codec's folder as ``rate.json``. (Energies by frequency, of the
encoder's own layers, and both together predict the level of the error better, but not its fall with the layers, which counts.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from djscc.errors import DjsccError

RATE_FILE = "rate.json"
OBJECTIVES = ("mse", "psnr")
DEFAULT_SNR_DB = 3.0  # reckoned with when the transmitter is told none


class RateError(DjsccError):
    """A budget that cannot be met, or a codec without a rate model."""


def statistics(tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Logarithms of the variance and of the mean squared gradient at three scales: (N, 4) for (N, H, W, C) tiles."""
    image = tiles.astype(np.float32) / 255
    columns = [image.var((1, 2)).mean(1)]
    for _ in range(3):
        across, down = np.diff(image, axis=2), np.diff(image, axis=1)
        columns.append((across**2).mean((1, 2, 3)) + (down**2).mean((1, 2, 3)))
        height, width = image.shape[1] // 2 * 2, image.shape[2] // 2 * 2
        even = image[:, :height, :width]
        image = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4
    return np.log(np.stack(columns, 1).astype(np.float64) + 1e-6)


def terms(features: NDArray[np.float64], snr_db: float) -> NDArray[np.float64]:
    """All products of up to two of: one, the statistics, the SNR."""
    base = np.column_stack([np.ones(len(features)), features / 5, np.full(len(features), snr_db / 10)])
    i, j = np.triu_indices(base.shape[1])
    return base[:, i] * base[:, j]


@dataclass(frozen=True)
class RateModel:
    """Predicts log MSE of a tile for each of ``layers``; ``coefficients`` are (terms, len(layers))."""

    layers: tuple[int, ...]
    coefficients: NDArray[np.float64]

    def predict(self, tiles: NDArray[np.uint8], snr_db: float) -> NDArray[np.float64]:
        """(N, len(layers)) predicted mean squared errors, never rising with the layers."""
        error = np.exp(terms(statistics(tiles), snr_db) @ self.coefficients)
        return np.minimum.accumulate(error, axis=1)

    def allocate(
        self, tiles: NDArray[np.uint8], budget: int, snr_db: float | None = None, objective: str = "mse"
    ) -> NDArray[np.int64]:
        """Layers of each tile, their sum at most ``budget``, so that the sum of the predicted errors (``mse``) or of their
        logarithms (``psnr``) is least.

        Exact on the convex hull of each tile's curve (Shoham and Gersho 1988). RateError when the budget is below the least.
        """
        if objective not in OBJECTIVES:
            raise RateError(f"objective {objective!r} is unknown; known are {', '.join(OBJECTIVES)}")
        least = self.layers[0] * len(tiles)
        if budget < least:
            raise RateError(
                f"{budget} layers for {len(tiles)} tiles: at least {self.layers[0]} each are needed, {least}"
            )
        cost = self.predict(tiles, DEFAULT_SNR_DB if snr_db is None else snr_db)
        if objective == "psnr":
            cost = np.log(cost)
        steps: list[tuple[float, int, int]] = []  # (-slope, tile, position reached)
        for tile, curve in enumerate(cost):
            at = 0
            while at < len(self.layers) - 1:
                slopes = (curve[at] - curve[at + 1 :]) / np.diff(np.array(self.layers))[at:].cumsum()
                best = int(slopes.argmax())
                if slopes[best] <= 0:
                    break
                at += best + 1
                steps.append((-float(slopes[best]), tile, at))
        chosen = np.zeros(len(tiles), np.int64)
        left = budget - least
        for _, tile, position in sorted(steps):
            cost = self.layers[position] - self.layers[chosen[tile]]
            if position > chosen[tile] and cost <= left:
                left -= cost
                chosen[tile] = position
        return np.array(self.layers)[chosen]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        rounded = [[float(f"{v:.7g}") for v in row] for row in self.coefficients]
        path.write_text(json.dumps({"layers": self.layers, "coefficients": rounded}) + "\n")

    @staticmethod
    def load(path: Path) -> RateModel:
        """Read what :meth:`save` wrote; RateError when it is not there or damaged."""
        try:
            data = json.loads(path.read_text())
            model = RateModel(tuple(int(n) for n in data["layers"]), np.array(data["coefficients"], np.float64))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RateError(
                f"{path}: no rate model there ({error}); this codec cannot spend layers by content"
            ) from error
        if model.coefficients.shape != (21, len(model.layers)) or not np.isfinite(model.coefficients).all():
            raise RateError(f"{path}: damaged, {model.coefficients.shape} coefficients; copy the codec's folder again")
        return model
