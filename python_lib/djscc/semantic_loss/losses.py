# SPDX-License-Identifier: GPL-3.0-or-later
"""What each quality metric loses: the one place where a metric becomes a loss between 0 (nothing lost) and about 1.

``accuracy``, ``agreement`` and ``task_loss`` are of a task; where a log holds several, ``accuracy:NAME`` says of which.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
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

    @property
    def loss_label(self) -> str:
        """The loss for axes and tables, such as 1 - SSIM."""
        if not self.higher_is_better:
            return self.label
        scale = self.value(0.0) - self.value(1.0)
        return (
            f"1 \N{MINUS SIGN} {self.label}" if scale == 1 else f"1 \N{MINUS SIGN} {self.label[:-5]} / {scale:.4g} dB"
        )

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
    return None if psnr is None else 1 - psnr / FULL_SCALE_DB


def _mse(tile: Tile) -> float | None:
    mse, psnr = _number(tile, "mse"), _number(tile, "psnr_db")
    return mse if mse is not None or psnr is None else 10 ** (-psnr / 10)


def _one_minus(key: str) -> Callable[[Tile], float | None]:
    def of(tile: Tile) -> float | None:
        value = _number(tile, key)
        return None if value is None else 1 - value

    return of


def _task(tile: Tile, name: str) -> Mapping[str, Any]:
    """What a tile's record says of a task; without a name, of the only one. Empty where it says nothing."""
    tasks = tile.get("tasks") or {}
    if not name and len(tasks) > 1:
        raise MetricError(
            f"the log holds the tasks {', '.join(tasks)}: say of which, like accuracy:{next(iter(tasks))}"
        )
    found: Mapping[str, Any] = tasks.get(name or next(iter(tasks), ""), {})
    return found


def _decided_otherwise(key: str, task: str = "") -> Callable[[Tile], float | None]:
    def of(tile: Tile) -> float | None:
        entry = _task(tile, task)
        decision, right = entry.get("decision"), entry.get(key)
        return None if decision is None or right is None else float(decision != right)

    return of


def _task_loss(task: str = "") -> Callable[[Tile], float | None]:
    return lambda tile: _number(_task(tile, task), "loss")


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
            "1 - PSNR / 48.13 dB: 0 where the rms error is one grey level of 255, 1 where it is full scale; below 0 beyond",
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
            _decided_otherwise("label"),
            _complement,
            binary=True,
        ),
        Loss(
            "agreement",
            "agreement",
            "1 - agreement: share of tiles whose decision is not the one made on the original",
            _decided_otherwise("original"),
            _complement,
            binary=True,
        ),
        Loss(
            "task_loss",
            "task loss",
            "the task's own loss; for a classification 1 - p, p the probability given to the label, or where there is none to the "
            "decision on the original",
            _task_loss(),
            _same,
            higher_is_better=False,
        ),
    )
}


_OF_TASK: dict[str, Callable[[str], Callable[[Tile], float | None]]] = {
    "accuracy": lambda task: _decided_otherwise("label", task),
    "agreement": lambda task: _decided_otherwise("original", task),
    "task_loss": _task_loss,
}


def loss_of_metric(metric: str) -> Loss:
    """The loss of a metric by name, ``accuracy:NAME`` for that of one task; raises MetricError for a name that is not known."""
    base, separator, task = metric.partition(":")
    if base not in LOSSES or (separator and (base not in _OF_TASK or not task)):
        raise MetricError(
            f"metric {metric!r} is not known; choose one of {', '.join(LOSSES)}; those of one task of several are written like "
            "accuracy:NAME"
        )
    if not task:
        return LOSSES[base]
    loss = LOSSES[base]
    return dataclasses.replace(loss, metric=metric, label=f"{loss.label} of {task}", of=_OF_TASK[base](task))


def metrics_of(tiles: Iterable[Tile], metrics: Iterable[str] | None = None) -> list[str]:
    """``metrics`` (None: all that are known), those of a task once for each task where the tiles' records hold several."""
    tasks = list(dict.fromkeys(name for tile in tiles for name in tile.get("tasks") or ()))
    out = []
    for metric in LOSSES if metrics is None else metrics:
        out += [f"{metric}:{task}" for task in tasks] if metric in _OF_TASK and len(tasks) > 1 else [metric]
    return out
