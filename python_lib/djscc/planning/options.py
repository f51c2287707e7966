# SPDX-License-Identifier: GPL-3.0-or-later
"""What each user can be given: for every ratio and SNR its symbols, its energy and what it is then worth, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from djscc.planning.scenario import Scenario, ScenarioError, User
from djscc.semantic_loss import FittedModel

Array = NDArray[np.float64]

SNR_STEP_DB = 0.01
"""SNRs are planned on a grid of this step, 0.23 % in power."""


@dataclass(frozen=True)
class Options:
    """The choices of one user. ``ratios`` (R,) ascending, ``symbols`` (R,) whole payload symbols, ``snr_db`` (G,) ascending over
    the measured range of the model; ``loss`` (R, G) in the worst case planned for, ``performance`` 1 - weight x loss, and
    ``energy`` (R, G) the transmit energy in J for it.
    """

    user: User
    model: FittedModel
    confidence: float | None
    noise_density: float
    ratios: Array
    symbols: NDArray[np.int64]
    snr_db: Array
    loss: Array
    performance: Array
    energy: Array

    def worst_loss(self, ratio: float | Array, snr_db: float | Array) -> Array:
        return worst_loss(self.model, ratio, snr_db, self.confidence)

    def snr_of(self, choice: int, energy: float) -> float:
        """Worst-case Es/N0 in dB that an energy in J gives at ratio ``choice``; -inf without energy."""
        with np.errstate(divide="ignore"):
            es = energy / self.symbols[choice] / self.noise_density
            return float(10 * np.log10(es) + self.user.gain_db - self.user.margin_db)


def worst_loss(model: FittedModel, ratio: float | Array, snr_db: float | Array, confidence: float | None) -> Array:
    """The mean loss, or its upper bound at a (one-sided) confidence."""
    if confidence is None:
        return model.predict(ratio, snr_db)
    return model.interval(ratio, snr_db, level=2 * confidence - 1)[1]


def options_of(user: User, model: FittedModel, scenario: Scenario) -> Options:
    """Tables of one user's choices; raises ScenarioError where the model cannot serve the scenario."""
    ratios = np.array(sorted(scenario.ratios or model.ratios), np.float64)
    outside = ratios[~model.covers(ratios, model.snr_db[0])]
    if len(outside):
        raise ScenarioError(
            f"ratio {outside[0]:.4g} is outside what the {model.metric} model was fitted to "
            f"({model.ratios.min():.4g} to {model.ratios.max():.4g}); leave it out or measure there"
        )
    if scenario.confidence is not None and not len(model.draws):
        raise ScenarioError(
            f"the {model.metric} model has no intervals, which confidence needs; fit it to several tiles"
        )
    low, high = model.snr_db
    snr_db = np.append(np.arange(low, high, SNR_STEP_DB), high)
    symbols = np.maximum(1, np.round(ratios * user.samples)).astype(np.int64)
    loss = worst_loss(model, ratios[:, None], snr_db, scenario.confidence)
    per_symbol = scenario.noise_density_w_hz * 10 ** ((snr_db + user.margin_db - user.gain_db) / 10)
    return Options(
        user,
        model,
        scenario.confidence,
        scenario.noise_density_w_hz,
        ratios,
        symbols,
        snr_db,
        loss,
        1 - user.weight * loss,
        symbols[:, None] * per_symbol,
    )


def all_options(scenario: Scenario, models: Mapping[str, FittedModel]) -> list[Options]:
    """Tables of every user; ``models`` by metric. Raises ScenarioError where a user's metric has no model."""
    options = []
    for user in scenario.users:
        if user.metric not in models:
            raise ScenarioError(
                f"user {user.name} needs a model of {user.metric} (there is {', '.join(models) or 'none'}); "
                f"fit one: djscc fit RUN --metric {user.metric} --json FILE"
            )
        options.append(options_of(user, models[user.metric], scenario))
    return options
