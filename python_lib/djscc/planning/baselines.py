# SPDX-License-Identifier: GPL-3.0-or-later
"""Allocations that do not know what an image is worth, to compare with: equal sharing, water-filling, largest sum rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from djscc.planning.allocation import Allocation, allocation_of, share_of
from djscc.planning.options import Options
from djscc.planning.scenario import Scenario

Array = NDArray[np.float64]


def _gains(options: Sequence[Options]) -> Array:
    """Worst-case Es/N0 for each joule of symbol energy."""
    return np.array([10 ** ((o.user.gain_db - o.user.margin_db) / 10) / o.noise_density for o in options])


def water_fill(gains: Array, symbols: Array, energy: float) -> Array:
    """Energies (U,) in J that maximise the sum of symbols x log2(1 + gain x energy per symbol).

    Each symbol is filled to the common water level: energy per symbol = max(0, level - 1 / gain).
    """
    order = np.argsort(-gains)
    for count in range(len(gains), 0, -1):
        best = order[:count]
        level = (energy + float((symbols[best] / gains[best]).sum())) / float(symbols[best].sum())
        if level > 1 / gains[best[-1]]:
            break
    return np.asarray(np.maximum(0, level - 1 / gains) * symbols, np.float64)


def _best_choice(options: Options, scenario: Scenario, symbols: float, energy: float) -> int | None:
    """The ratio that makes most of what a user was given; None where not even the smallest fits."""
    fitting = np.flatnonzero(options.symbols <= symbols)
    if not len(fitting):
        return None
    return int(max(fitting, key=lambda c: share_of(options, scenario, int(c), energy).performance))


def equal_sharing(options: Sequence[Options], scenario: Scenario) -> Allocation:
    """Every user gets the same number of symbols and the same energy, and makes the best of them."""
    count = len(options)
    energies = [scenario.energy_j / count] * count
    choices = [_best_choice(o, scenario, scenario.symbols / count, e) for o, e in zip(options, energies, strict=True)]
    return allocation_of("equal sharing", options, scenario, choices, energies)


def water_filling(options: Sequence[Options], scenario: Scenario) -> Allocation:
    """Every user gets the same number of symbols; energies maximise the sum rate over them (water-filling)."""
    count = len(options)
    energies = water_fill(_gains(options), np.full(count, scenario.symbols / count), scenario.energy_j).tolist()
    choices = [_best_choice(o, scenario, scenario.symbols / count, e) for o, e in zip(options, energies, strict=True)]
    return allocation_of("water-filling", options, scenario, choices, energies)


def rate_max(options: Sequence[Options], scenario: Scenario) -> Allocation:
    """Everyone gets the smallest ratio, what is left of the symbols goes to the best channels first, up to the largest ratio, and
    the energy is water-filled: the largest sum rate that serves all."""
    choices: list[int | None] = [None] * len(options)
    gains = _gains(options)
    order = np.argsort(-gains)
    left = scenario.symbols
    for u in order:
        if options[u].symbols[0] <= left:
            choices[u] = 0
            left -= int(options[u].symbols[0])
    for u in order:
        if choices[u] is not None:
            largest = int(np.flatnonzero(options[u].symbols - options[u].symbols[0] <= left)[-1])
            left -= int(options[u].symbols[largest] - options[u].symbols[0])
            choices[u] = largest
    served = np.array([u for u, c in enumerate(choices) if c is not None], dtype=np.int64)
    energies = np.zeros(len(options))
    if len(served):
        symbols = np.array([options[u].symbols[choices[u] or 0] for u in served], np.float64)
        energies[served] = water_fill(gains[served], symbols, scenario.energy_j)
    return allocation_of("largest sum rate", options, scenario, choices, energies.tolist())
