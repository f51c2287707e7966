# SPDX-License-Identifier: GPL-3.0-or-later
"""The best allocation: max-min over powers and ratios, and the least power or bandwidth for what is wanted.

For a wanted level each user and ratio needs a least energy, because the loss never rises with SNR. Which ratio each user gets is
then a multiple-choice knapsack (least energy within the symbols, or least symbols within the energy), solved exactly as an integer
programme by HiGHS. Levels are searched by bisection over the finitely many that the SNR grid knows, so that the answer is the best
on that grid. A bound that holds off the grid too comes from the same search with every energy rounded down to the grid's last
step before: what cannot be had even so cannot be had at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from djscc.planning.options import REACHED, Options
from djscc.planning.scenario import Scenario

Array = NDArray[np.float64]

TOLERANCE = 1e-6
"""Relative tolerance of the energy limit: that of the integer programme."""


@dataclass(frozen=True)
class Share:
    """What one user is given. ``ratio`` is None where it gets nothing; ``snr_db`` and what follows are for the worst case planned
    for. ``values`` are the user's metrics, ``metric`` the one that limits its ``performance``, ``loss`` and ``value`` of that one.
    ``extrapolated`` says that the SNR lies below what the models were fitted to."""

    user: str
    metric: str
    ratio: float | None
    power_w: float
    bandwidth_hz: float
    snr_db: float
    loss: float
    value: float
    performance: float
    values: dict[str, float]
    extrapolated: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(self).items()}


@dataclass(frozen=True)
class Allocation:
    """Shares of all users. ``performance`` is the smallest 1 - weight x loss; ``bound`` one that no allocation reaches (of
    those with SNRs within the measured range), None where it is not known."""

    name: str
    shares: tuple[Share, ...]
    performance: float
    power_w: float
    bandwidth_hz: float
    bound: float | None = None

    @property
    def gap(self) -> float | None:
        return None if self.bound is None else self.bound - self.performance

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "performance": self.performance,
            "bound": self.bound,
            "gap": self.gap,
            "power_w": self.power_w,
            "bandwidth_hz": self.bandwidth_hz,
            "users": [share.to_dict() for share in self.shares],
        }


def share_of(options: Options, scenario: Scenario, choice: int | None, energy: float) -> Share:
    """What a user has of ratio ``choice`` (None: nothing) and an energy in J. SNRs above the measured range count as its end."""
    low, high = float(options.snr_db[0]), float(options.snr_db[-1])
    user, nothing = options.user, choice is None or energy <= 0
    ratio, snr_db, power_w, bandwidth_hz = None, -math.inf, 0.0, 0.0
    if choice is None or nothing:
        losses = options.losses(float(options.ratios[0]), -100.0)
    else:
        ratio, snr_db, on_air = float(options.ratios[choice]), options.snr_of(choice, energy), 1 + scenario.overhead
        power_w = energy * on_air / scenario.deadline_s
        bandwidth_hz = float(options.symbols[choice]) * on_air * (1 + scenario.roll_off) / scenario.deadline_s
        losses = options.losses(ratio, min(snr_db, high))
    performances = {metric: 1 - user.weight * user.metric[metric] * float(loss) for metric, loss in losses.items()}
    values = {metric: options.models[metric].loss.value(float(loss)) for metric, loss in losses.items()}
    worst = min(performances, key=performances.__getitem__)
    return Share(
        user.name,
        worst,
        ratio,
        power_w,
        bandwidth_hz,
        snr_db,
        float(losses[worst]),
        values[worst],
        performances[worst],
        values,
        nothing or snr_db < low - 1e-6,
    )


def allocation_of(
    name: str,
    options: Sequence[Options],
    scenario: Scenario,
    choices: Sequence[int | None],
    energies: Sequence[float],
    bound: float | None = None,
) -> Allocation:
    shares = tuple(share_of(o, scenario, c, e) for o, c, e in zip(options, choices, energies, strict=True))
    return Allocation(
        name,
        shares,
        min(share.performance for share in shares),
        sum(share.power_w for share in shares),
        sum(share.bandwidth_hz for share in shares),
        bound,
    )


def least_energies(options: Options, level: float | None, optimistic: bool = False) -> Array:
    """Least energy in J of each ratio (R,) with which the user's performance is at least ``level``, or its wanted values are
    reached (None); inf where none is enough. ``optimistic`` takes the energy of the grid's step before, of which more is needed
    even off the grid."""
    enough = options.wanted if level is None else options.performance >= level - REACHED
    first = enough.argmax(axis=1)
    if optimistic:
        first = np.where(enough.any(axis=1), np.maximum(first - 1, 0), first)
        enough = np.broadcast_to(enough.any(axis=1)[:, None], enough.shape)
    return np.where(enough.any(axis=1), options.energy[np.arange(len(first)), first], np.inf)


def choose(
    options: Sequence[Options],
    level: float | None,
    symbols: float,
    energy: float,
    least: Literal["energy", "symbols"] = "energy",
    optimistic: bool = False,
) -> tuple[list[int], list[float]] | None:
    """A ratio for each user, and its energy, that reach ``level`` (None: the wanted values) within the symbols and the energy and
    take the least of one; None where there is none. Exact, by integer programming."""
    energies = [least_energies(o, level, optimistic) for o in options]
    if any(not np.isfinite(e).any() for e in energies):
        return None
    cheapest = [int(np.argmin(e)) for e in energies]
    if least == "energy" and sum(int(o.symbols[c]) for o, c in zip(options, cheapest, strict=True)) <= symbols:
        chosen = cheapest
    else:
        found = _knapsack(options, energies, symbols, energy, least)
        if found is None:
            return None
        chosen = found
    used = [float(e[c]) for e, c in zip(energies, chosen, strict=True)]
    return (chosen, used) if sum(used) <= energy * (1 + TOLERANCE) else None


def _knapsack(
    options: Sequence[Options],
    energies: Sequence[Array],
    symbols: float,
    energy: float,
    least: Literal["energy", "symbols"],
) -> list[int] | None:
    """One ratio for each user: least energy within the symbols, or least symbols within the energy."""
    pairs = [(u, int(c)) for u, e in enumerate(energies) for c in np.flatnonzero(np.isfinite(e))]
    scale = energy if math.isfinite(energy) else sum(float(e.min()) for e in energies)
    spent = np.array([energies[u][c] for u, c in pairs]) / scale
    taken = np.array([options[u].symbols[c] for u, c in pairs], np.float64)
    one_each = csr_array(
        (np.ones(len(pairs)), ([u for u, _ in pairs], range(len(pairs)))), shape=(len(options), len(pairs))
    )
    if least == "energy":
        # symbols are whole: half a symbol of slack keeps the solver's tolerance from mattering
        cost, limit = spent, LinearConstraint(taken, ub=math.floor(symbols) + 0.5)
    else:
        cost, limit = taken / taken.sum(), LinearConstraint(spent, ub=1.0)
    result = milp(
        cost,
        constraints=[LinearConstraint(one_each, 1, 1), limit],
        integrality=np.ones(len(pairs)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    if result.x is None:
        return None
    chosen = [0] * len(options)
    for (u, c), x in zip(pairs, result.x, strict=True):
        if x > 0.5:
            chosen[u] = c
    return chosen


def levels_of(options: Sequence[Options]) -> Array:
    """Every level that an allocation on the SNR grid can have, ascending."""
    return np.unique(np.concatenate([o.performance.ravel() for o in options]))


def max_min(options: Sequence[Options], scenario: Scenario) -> Allocation | None:
    """The allocation with the largest smallest performance, and a proven bound on that of all others.

    None where not even the smallest ratio at the lowest measured SNR can be given to every user.
    """
    levels = levels_of(options)

    def search(low: int, optimistic: bool) -> tuple[int, tuple[list[int], list[float]] | None]:
        """The first level above ``low`` that cannot be had, and the allocation of the one before."""
        best, high = None, len(levels)
        while high - low > 1:
            middle = (low + high) // 2
            found = choose(options, float(levels[middle]), scenario.symbols, scenario.energy_j, optimistic=optimistic)
            if found is None:
                high = middle
            else:
                low, best = middle, found
        return high, best

    first, best = search(-1, optimistic=False)
    if best is None:
        return None
    beyond, _ = search(first - 1, optimistic=True)
    return allocation_of("max-min", options, scenario, *best, bound=float(levels[min(beyond, len(levels) - 1)]))


def least_power(options: Sequence[Options], scenario: Scenario, performance: float | None) -> Allocation | None:
    """The allocation of least power that gives every user at least ``performance`` (None: its wanted values) within the bandwidth;
    None where none does."""
    found = choose(options, performance, scenario.symbols, math.inf)
    return None if found is None else allocation_of("least power", options, scenario, *found)


def least_bandwidth(options: Sequence[Options], scenario: Scenario, performance: float | None) -> Allocation | None:
    """The allocation of least bandwidth that gives every user at least ``performance`` (None: its wanted values) within the power;
    None where none does."""
    found = choose(options, performance, math.inf, scenario.energy_j, least="symbols")
    return None if found is None else allocation_of("least bandwidth", options, scenario, *found)
