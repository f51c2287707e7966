# SPDX-License-Identifier: GPL-3.0-or-later
"""What each quality metric loses: the one place where a metric becomes a loss between 0 (nothing lost) and about 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from djscc.errors import DjsccError

FULL_SCALE_DB = 20 * math.log10(255)
"""PSNR of 8-bit images whose root-mean-square error is one grey level: 48.13 dB."""

Tile = Mapping[str, Any]


class MetricError(DjsccError):
    """A metric that is not known, or not in the log; the message names it and says which are."""


@dataclass(frozen=True)
class Loss:
    """A metric of a received tile and the loss made of it.

    ``of(tile)`` is the loss of one flat per-tile record, or None where the record does not hold the metric;
    ``value(loss)`` is the metric again (the inverse, exact for means too because it is affine). ``binary`` losses are 0 or 1
    for each tile, so that their mean is a share.
    """

    metric: str
    label: str  # the metric with its unit, for axes and tables
    definition: str
    of: Callable[[Tile], float | None]
    value: Callable[[float], float]
    higher_is_better: bool = True
    binary: bool = False

    def of_value(self, value: float) -> float:
        """The loss of a value of the metric: the inverse of ``value``."""
        nothing = self.value(0.0)
        return (value - nothing) / (self.value(1.0) - nothing)


def _number(tile: Tile, key: str) -> float | None:
    value = tile.get(key)
    if value is None or isinstance(value, str) or math.isnan(value):
        return None
    return float(value)


def _psnr(tile: Tile) -> float | None:
    psnr = _number(tile, "psnr_db")
    return None if psnr is None else max(0.0, 1 - psnr / FULL_SCALE_DB)


def _mse(tile: Tile) -> float | None:
    mse, psnr = _number(tile, "mse"), _number(tile, "psnr_db")
    return mse if mse is not None or psnr is None else 10 ** (-psnr / 10)


def _one_minus(key: str) -> Callable[[Tile], float | None]:
    def of(tile: Tile) -> float | None:
        value = _number(tile, key)
        return None if value is None else 1 - value

    return of


def _differ(first: str, second: str) -> Callable[[Tile], float | None]:
    def of(tile: Tile) -> float | None:
        a, b = tile.get(first), tile.get(second)
        return None if a is None or b is None else float(a != b)

    return of


def _complement(loss: float) -> float:
    return 1 - loss


def _same(loss: float) -> float:
    return loss


LOSSES: dict[str, Loss] = {
    loss.metric: loss
    for loss in (
        Loss(
            "psnr",
            "PSNR (dB)",
            "max(0, 1 - PSNR / 48.13 dB): 0 where the rms error is at most one grey level of 255, 1 where it is full scale",
            _psnr,
            lambda loss: FULL_SCALE_DB * (1 - loss),
        ),
        Loss(
            "mse",
            "MSE",
            "mean square error of samples between 0 and 1, which is 10^(-PSNR / 10)",
            _mse,
            _same,
            higher_is_better=False,
        ),
        Loss("ssim", "SSIM", "1 - SSIM", _one_minus("ssim"), _complement),
        Loss("ms_ssim", "MS-SSIM", "1 - MS-SSIM", _one_minus("ms_ssim"), _complement),
        Loss(
            "lpips",
            "LPIPS",
            "LPIPS itself, a distance: 0 for equal images",
            lambda tile: _number(tile, "lpips"),
            _same,
            higher_is_better=False,
        ),
        Loss(
            "accuracy",
            "accuracy",
            "1 - accuracy: share of tiles whose decision is not their label",
            _differ("decision", "label"),
            _complement,
            binary=True,
        ),
        Loss(
            "agreement",
            "agreement",
            "1 - agreement: share of tiles whose decision is not the one made on the original",
            _differ("decision", "decision_original"),
            _complement,
            binary=True,
        ),
    )
}


def loss_of_metric(metric: str) -> Loss:
    """The loss of a metric by name; raises MetricError for a name that is not in ``LOSSES``."""
    try:
        return LOSSES[metric]
    except KeyError:
        raise MetricError(f"metric {metric!r} is not known; choose one of {', '.join(LOSSES)}") from None
