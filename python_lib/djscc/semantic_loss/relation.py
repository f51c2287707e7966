# SPDX-License-Identifier: GPL-3.0-or-later
"""What one metric says of another: how well the loss of one predicts that of the other, point by point of the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from djscc.semantic_loss.cells import SNR_BIN_DB, Cells, FitError
from djscc.semantic_loss.fit import FOLDS, quality_of
from djscc.semantic_loss.model import Quality, short

if TYPE_CHECKING:
    from djscc.semantic_loss.selection import MetricFit

Array = NDArray[np.float64]

FEWEST_POINTS = 8


@dataclass(frozen=True)
class Relation:
    """Mean loss y of metric ``target`` as a function of mean loss x of metric ``source``, whatever the ratio and SNR:
    y = f + a x^p / (x^p + m^p), which never falls. ``held_out`` is its error on points that were left out; a second variable is
    not missed where that is as small as the error of the target's own surface. ``rank_correlation`` is Spearman's.
    """

    source: str
    target: str
    parameters: tuple[float, float, float, float]  # a, m, p, f
    rank_correlation: float
    held_out: Quality
    points: int

    def predict(self, loss: Array) -> Array:
        return _curve(np.array(self.parameters), loss)

    def to_dict(self) -> dict[str, Any]:
        names = ("a", "m", "p", "f")
        return {
            "source": self.source,
            "target": self.target,
            "formula": "f + a x^p / (x^p + m^p)",
            "parameters": dict(zip(names, map(short, self.parameters), strict=True)),
            "rank_correlation": short(self.rank_correlation),
            "held_out": self.held_out.to_dict(),
            "points": self.points,
        }


def _curve(parameters: Array, x: Array) -> Array:
    a, m, p, f = parameters
    return np.asarray(f + a / (1 + (m / np.maximum(x, 1e-12)) ** p), np.float64)


def _fit(x: Array, y: Array, sigma: Array, start: Array | None = None) -> Array:
    """Bounded weighted least squares, from a few steepnesses where there is no start; logarithms of m and p."""
    top = float(y.max()) or 1.0
    low = np.array([0.0, np.log(x.min() / 10), np.log(0.2), 0.0])
    high = np.array([4 * top, np.log(10 * x.max()), np.log(20.0), top])

    def parameters(point: Array) -> Array:
        return np.array([point[0], np.exp(point[1]), np.exp(point[2]), point[3]])

    if start is None:
        starts = [np.array([top, np.log(np.median(x)), np.log(p), 0.5 * float(y.min())]) for p in (1.0, 3.0, 8.0)]
    else:
        starts = [np.array([start[0], np.log(start[1]), np.log(start[2]), start[3]])]
    found = (
        least_squares(
            lambda moved: (_curve(parameters(moved), x) - y) / sigma, np.clip(point, low, high), bounds=(low, high)
        )
        for point in starts
    )
    return parameters(min(found, key=lambda result: result.cost).x)


def common_points(source: Cells, target: Cells) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the cells at the same ratio and SNR in ``source`` and in ``target``."""

    def places(cells: Cells) -> dict[tuple[float, float], int]:
        # estimated SNRs are means over the tiles of a cell: those of its bin, where not all tiles hold both metrics
        snrs = SNR_BIN_DB * np.round(cells.snr_db / SNR_BIN_DB) if cells.snr_is_estimated else np.round(cells.snr_db, 3)
        return {(round(r, 5), g): i for i, (r, g) in enumerate(zip(cells.ratio, snrs.tolist(), strict=True))}

    of_source, of_target = places(source), places(target)
    pairs = [(of_source[place], j) for place, j in of_target.items() if place in of_source]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return first, second


def relate(source: MetricFit, target: MetricFit, seed: int = 1) -> Relation:
    """How well the loss of ``source`` predicts that of ``target`` of the same series.

    Raises FitError where fewer than ``FEWEST_POINTS`` points hold both.
    """
    first, second = common_points(source.cells, target.cells)
    if len(first) < FEWEST_POINTS:
        raise FitError(
            f"{len(first)} points hold both {source.metric} and {target.metric}; at least {FEWEST_POINTS} are needed"
        )
    x, y, sigma = source.cells.loss[first], target.cells.loss[second], target.cells.sigma[second]
    x = np.maximum(x, 1e-9)
    whole = _fit(x, y, sigma)
    held_out = np.empty_like(y)
    for left_out in np.array_split(np.random.default_rng(seed).permutation(len(x)), min(FOLDS, len(x))):
        keep = np.setdiff1d(np.arange(len(x)), left_out)
        held_out[left_out] = _curve(_fit(x[keep], y[keep], sigma[keep], whole), x[left_out])
    a, m, p, f = whole.tolist()
    rank = float(spearmanr(x, y).statistic) if np.ptp(x) and np.ptp(y) else math.nan  # a constant has no ranks
    return Relation(source.metric, target.metric, (a, m, p, f), rank, quality_of(held_out, y, sigma), len(x))


def relations(fits: Sequence[MetricFit]) -> list[Relation]:
    """Every pair of metrics of one series that share enough points, the target slowest in order."""
    found = []
    for target in fits:
        for source in fits:
            if source.metric != target.metric:
                try:
                    found.append(relate(source, target))
                except FitError:
                    continue
    return found
