# SPDX-License-Identifier: GPL-3.0-or-later
"""What a link can be set to, and the Es/N0 that each setting needs for the wanted quality, from a fitted semantic loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from djscc.codec import Codec, CodecError
from djscc.errors import DjsccError
from djscc.semantic_loss import FittedModel

RATIOS = (1 / 96, 1 / 64, 1 / 48, 1 / 32, 1 / 24, 1 / 16, 1 / 12, 1 / 8, 1 / 6, 1 / 4)  # to choose from
STEP_DB = 0.02  # of the grid on which the needed Es/N0 is sought


class ControlError(DjsccError):
    """A wanted quality or a setting that cannot be served; the message says what can."""


@dataclass(frozen=True)
class Choice:
    """One setting of the link: a ratio k/n, or a digital MODCOD. ``cost`` orders them by symbols on the air for each tile;
    ``snr_db`` is the least Es/N0 that gives the wanted quality, +inf where none does."""

    name: str
    cost: float
    snr_db: float
    ratio: float | None = None


def choices_of_model(
    model: FittedModel, wanted: float, ratios: Sequence[float] | None = None, confidence: float | None = None
) -> list[Choice]:
    """The choices of a fitted model for a ``wanted`` value of its metric (32 for 32 dB of PSNR), cheapest first.

    ``ratios`` are those that the codec offers, by default the ones that were measured. ``confidence`` plans with the upper
    bound of the loss at that level instead of its mean. Below the measured SNRs nothing is promised: a ratio that would do
    there is taken to need the lowest measured one. Raises ControlError where no ratio reaches the wanted value.
    """
    ratios = sorted(model.ratios.tolist() if ratios is None else ratios)
    outside = [ratio for ratio in ratios if not model.covers(ratio, model.snr_db[0])]
    if outside or not ratios:
        raise ControlError(
            f"ratio {outside[0] if outside else 'none'}: the model was fitted to {model.ratios.min():.4g} to "
            f"{model.ratios.max():.4g}; leave it out, or measure there"
        )
    low, high = model.snr_db
    grid = np.append(np.arange(low, high, STEP_DB), high)
    limit = model.loss.of_value(wanted)
    out, best = [], math.inf
    for ratio in ratios:
        loss = model.predict(ratio, grid) if confidence is None else model.interval(ratio, grid, 2 * confidence - 1)[1]
        best = min(best, float(loss.min()))
        good = loss <= limit
        needed = math.inf
        if good[-1]:  # from here on upwards every SNR is good
            needed = float(grid[len(good) - int(np.argmin(good[::-1])) if not good.all() else 0])
        out.append(Choice(_name(ratio), ratio, needed, ratio))
    if all(math.isinf(choice.snr_db) for choice in out):
        value = model.loss.value(best)
        raise ControlError(
            f"--wanted {wanted:g}: no ratio up to {_name(ratios[-1])} gives that {model.loss.label} up to {high:g} dB of Es/N0; "
            f"the best is {value:.4g}"
        )
    return out


def ratios_of(codec: Codec, model: FittedModel) -> list[float]:
    """The ratios that a codec offers within what a model was fitted to: those of ``RATIOS``, or the measured ones."""
    low = model.snr_db[0]
    offered = [ratio for ratio in RATIOS if bool(model.covers(ratio, low)) and _offers(codec, ratio)]
    offered = offered or [ratio for ratio in model.ratios.tolist() if _offers(codec, ratio)]
    if not offered:
        raise ControlError(
            f"codec {codec.name} offers no ratio that the model was fitted to; fit one to runs of this codec"
        )
    return offered


def offered_ratios(codec: Codec) -> list[float]:
    """Those of ``RATIOS`` that a codec offers, or else all of its own; a codec of one ratio has that one."""
    offered = [ratio for ratio in RATIOS if _offers(codec, ratio)]
    layers = [codec.layers] if codec.fixed else range(1, codec.layers + 1)
    return offered or [codec.ratio(count) for count in layers]


def _offers(codec: Codec, ratio: float) -> bool:
    try:
        codec.layers_for_ratio(ratio)
    except CodecError:
        return False
    return True


def _name(ratio: float) -> str:
    return f"1/{1 / ratio:.4g}"
