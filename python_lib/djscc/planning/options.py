# SPDX-License-Identifier: GPL-3.0-or-later
"""What each user can be given: for every ratio and SNR its symbols, its energy and what it is then worth, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from djscc.planning.scenario import Scenario, ScenarioError, User
from djscc.semantic_loss import FittedModel

Array = NDArray[np.float64]

SNR_STEP_DB = 0.01
"""SNRs are planned on a grid of this step, 0.23 % in power."""

REACHED = 1e-9
"""Losses and levels that were computed from an allocation are met by it, rounding or not."""


@dataclass(frozen=True)
class Options:
    """The choices of one user. ``ratios`` (R,) ascending, ``symbols`` (R,) whole payload symbols, ``snr_db`` (G,) ascending over
    the measured range of the user's ``models`` (one for each of its metrics); ``performance`` (R, G) is the smallest
    1 - weight x loss of its metrics in the worst case planned for, ``wanted`` (R, G) whether every wanted value is reached, and
    ``energy`` (R, G) the transmit energy in J for it.
    """

    user: User
    models: Mapping[str, FittedModel]
    confidence: float | None
    noise_density: float
    ratios: Array
    symbols: NDArray[np.int64]
    snr_db: Array
    performance: Array
    wanted: NDArray[np.bool_]
    energy: Array

    def losses(self, ratio: float | Array, snr_db: float | Array) -> dict[str, Array]:
        """The loss of each of the user's metrics, in the worst case planned for."""
        return {metric: worst_loss(model, ratio, snr_db, self.confidence) for metric, model in self.models.items()}

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


def models_of(user: User, models: Sequence[FittedModel]) -> dict[str, FittedModel]:
    """The model of each of the user's metrics, of the codec and channel that it names; ScenarioError where it is not one."""
    found = {}
    for metric in user.metric:
        fitting = [
            model
            for model in models
            if model.metric == metric
            and user.codec in (None, model.provenance.get("codec"))
            and user.channel in (None, model.provenance.get("channel"))
        ]
        series = " over ".join(part for part in (user.codec, user.channel) if part is not None)
        if not fitting:
            there = ", ".join(map(_title, models)) or "none"
            raise ScenarioError(
                f"user {user.name} needs a model of {metric}{series and f' of {series}'} (there is {there}); "
                f"fit one: djscc fit RUN --metric {metric} --json FILE"
            )
        if len(fitting) > 1:
            raise ScenarioError(
                f"user {user.name}: there are {len(fitting)} models of {metric} ({', '.join(map(_title, fitting))}); "
                "name the user's codec and channel, or give fewer models"
            )
        found[metric] = fitting[0]
    return found


def _title(model: FittedModel) -> str:
    return f"{model.metric} of {model.provenance.get('codec')} over {model.provenance.get('channel')}"


def options_of(user: User, models: Mapping[str, FittedModel], scenario: Scenario) -> Options:
    """Tables of one user's choices; raises ScenarioError where its models cannot serve the scenario."""
    low = max(model.snr_db[0] for model in models.values())
    high = min(model.snr_db[1] for model in models.values())
    if low >= high:
        raise ScenarioError(
            f"user {user.name}: the models of {', '.join(models)} were fitted over SNRs that do not overlap"
        )
    first = next(iter(models.values()))
    ratios = np.array(sorted(scenario.ratios or first.ratios), np.float64)
    for metric, model in models.items():
        outside = ratios[~model.covers(ratios, low)]
        if len(outside):
            raise ScenarioError(
                f"ratio {outside[0]:.4g} is outside what the {metric} model was fitted to "
                f"({model.ratios.min():.4g} to {model.ratios.max():.4g}); leave it out or measure there"
            )
        if scenario.confidence is not None and not len(model.draws):
            raise ScenarioError(f"the {metric} model has no intervals, which confidence needs; fit it to several tiles")
    snr_db = np.append(np.arange(low, high, SNR_STEP_DB), high)
    symbols = np.maximum(1, np.round(ratios * user.samples)).astype(np.int64)
    losses = {m: worst_loss(model, ratios[:, None], snr_db, scenario.confidence) for m, model in models.items()}
    performance = np.min([1 - user.weight * user.metric[m] * loss for m, loss in losses.items()], axis=0)
    reached = [losses[m] <= models[m].loss.of_value(value) + REACHED for m, value in user.wanted.items()]
    per_symbol = scenario.noise_density_w_hz * 10 ** ((snr_db + user.margin_db - user.gain_db) / 10)
    return Options(
        user,
        models,
        scenario.confidence,
        scenario.noise_density_w_hz,
        ratios,
        symbols,
        snr_db,
        performance,
        np.all([np.ones(performance.shape, bool), *reached], axis=0),
        symbols[:, None] * per_symbol,
    )


def all_options(scenario: Scenario, models: Sequence[FittedModel]) -> list[Options]:
    """Tables of every user. Raises ScenarioError where a user's metric has no model, or several to choose from."""
    return [options_of(user, models_of(user, models), scenario) for user in scenario.users]
