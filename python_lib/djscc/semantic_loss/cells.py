# SPDX-License-Identifier: GPL-3.0-or-later
"""From per-tile records to cells of the (ratio, SNR) plane: mean loss, its sampling error, and who was in it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.errors import DjsccError
from djscc.semantic_loss.losses import Loss, Tile

Array = NDArray[np.float64]
Identity = tuple[Any, Any, Any]  # scene, index and name of a tile

FORM_ACCURACY = 0.01
"""Share of a loss that no form is expected to meet better: keeps cells of very many tiles from ruling the fit."""

SNR_BIN_DB = 1.0
"""Width of the cells over SNR where only the receiver's estimate is known (runs over the air)."""


class FitError(DjsccError):
    """A log that no loss can be fitted to; the message says why and what to run."""


@dataclass(frozen=True)
class Series:
    """Which transmissions belong to one surface: those of one codec over one channel."""

    codec: str
    channel: str

    def __str__(self) -> str:
        return f"{self.codec} over {self.channel}"


def series_of(tile: Tile) -> Series:
    """The series of a record; what came over the air names no channel."""
    return Series(str(tile.get("codec") or tile.get("codec_id")), str(tile.get("channel") or "the air"))


@dataclass(frozen=True)
class Cells:
    """Mean losses over the plane. All arrays are float64 (C,), one entry a cell, sorted by ratio and SNR.

    ``sums`` and ``counts`` (T, C) hold the losses of each tile in each cell, for resampling over tiles: the same tiles are
    sent at every point, so their errors go together. ``not_received`` counts tiles of lost frames, which have no loss.
    ``snr_scatter_db`` is the standard deviation over cells of the receiver's mean SNR estimate less the channel's SNR: large where
    each cell met only a few fades.
    """

    ratio: Array
    snr_db: Array
    sums: Array
    counts: Array
    binary: bool
    not_received: int = 0
    snr_is_estimated: bool = False
    snr_scatter_db: float = 0.0

    @property
    def loss(self) -> Array:
        """Mean loss of each cell."""
        return self.sums.sum(0) / self.counts.sum(0)

    @property
    def tiles(self) -> Array:
        """Number of different tiles in each cell."""
        return (self.counts > 0).sum(0).astype(np.float64)

    @property
    def standard_error(self) -> Array:
        """Standard error of each mean over its tiles; shares (binary losses) by Jeffreys' rule, so that 0 of n is not exact.

        A cell of one tile has no spread of its own and gets NaN.
        """
        n = self.tiles
        if self.binary:
            share = (self.loss * n + 0.5) / (n + 1)
            return np.sqrt(share * (1 - share) / n)
        with np.errstate(invalid="ignore", divide="ignore"):
            of_tile = self.sums / self.counts
            deviation = np.where(self.counts > 0, of_tile - np.nanmean(of_tile, axis=0), 0.0)
            return np.asarray(np.sqrt((deviation**2).sum(0) / (n - 1) / n), np.float64)

    @property
    def interval(self) -> tuple[Array, Array]:
        """95 % interval of each mean: 1.96 standard errors each way, within 0 and 1 for shares; the mean itself for one tile."""
        half = 1.96 * np.nan_to_num(self.standard_error)
        low, high = self.loss - half, self.loss + half
        return (np.maximum(low, 0), np.minimum(high, 1)) if self.binary else (low, high)

    @property
    def sigma(self) -> Array:
        """What the fit weighs by: the standard error, and one per cent of the loss (``FORM_ACCURACY``) beside it.

        A cell of one tile gets the median spread of the tiles in the other cells; where all are so, it has the one per cent alone.
        """
        loss, error = self.loss, self.standard_error
        known = np.isfinite(error)
        if known.any():
            error = np.where(known, error, np.median(error[known] * np.sqrt(self.tiles[known])))
        floor = 1e-6 + FORM_ACCURACY * np.maximum(loss, 1e-3 * loss.max())
        return np.hypot(np.nan_to_num(error), floor)

    def __len__(self) -> int:
        return len(self.ratio)

    def resampled_loss(self, rng: np.random.Generator) -> Array:
        """Mean losses over tiles drawn again with replacement; NaN in cells that the draw leaves empty."""
        tiles = len(self.sums)
        weight = np.bincount(rng.integers(tiles, size=tiles), minlength=tiles).astype(np.float64)
        with np.errstate(invalid="ignore"):
            return np.asarray((weight @ self.sums) / (weight @ self.counts), np.float64)


def snr_of(tile: Tile) -> float | None:
    """The true SNR of a record where it is known, else the receiver's estimate, in dB; None where there is neither."""
    for key in ("snr_db", "snr_est_db"):
        value = tile.get(key)
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    return None


def collect(tiles: Iterable[Tile], loss: Loss) -> Cells:
    """Gather the records of one series into cells.

    Tiles are told apart by scene, index and name. Raises FitError where no record holds the
    metric, or where records of several codecs or channels are mixed.
    """
    values: dict[tuple[float, float], dict[Identity, list[float]]] = defaultdict(lambda: defaultdict(list))
    snrs: dict[tuple[float, float], list[float]] = defaultdict(list)
    deviations: dict[tuple[float, float], list[float]] = defaultdict(list)
    series: set[Series] = set()
    records = lost = 0
    estimated = False
    for tile in tiles:
        records += 1
        series.add(series_of(tile))
        if not tile.get("received", True):
            lost += 1
            continue
        ratio, snr, value = tile.get("ratio"), snr_of(tile), loss.of(tile)
        if ratio is None or snr is None or value is None or not math.isfinite(value):
            continue
        known = tile.get("snr_db") is not None
        estimated |= not known
        key = (round(float(ratio), 6), round(snr, 3) if known else SNR_BIN_DB * round(snr / SNR_BIN_DB))
        identity = (tile.get("scene_id"), tile.get("index"), tile.get("name"))
        values[key][identity].append(value)
        snrs[key].append(snr)
        if known and tile.get("snr_est_db") is not None:
            deviations[key].append(float(tile["snr_est_db"]) - snr)
    if len(series) > 1:
        raise FitError(
            f"records of {', '.join(sorted(map(str, series)))} are mixed; fit them one by one (fit_run_logs does)"
        )
    if not values:
        raise FitError(
            f"none of the {records} tile records holds {loss.metric} at a known ratio and SNR; log that metric or choose another"
        )
    keys = sorted(values)
    rows: dict[Identity, int] = {}
    for key in keys:
        for identity in values[key]:
            rows.setdefault(identity, len(rows))
    sums, counts = np.zeros((len(rows), len(keys))), np.zeros((len(rows), len(keys)))
    for column, key in enumerate(keys):
        for identity, list_of_values in values[key].items():
            sums[rows[identity], column] = sum(list_of_values)
            counts[rows[identity], column] = len(list_of_values)
    return Cells(
        np.array([ratio for ratio, _ in keys]),
        np.array([np.mean(snrs[key]) for key in keys]),
        sums,
        counts,
        loss.binary,
        lost,
        estimated,
        float(np.std([np.mean(of_cell) for of_cell in deviations.values()])) if deviations else 0.0,
    )
