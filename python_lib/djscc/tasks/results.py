# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task leaves in the log of a tile, ``tile["tasks"][name]``, and the means of it.

- ``loss``: what the task lost on the received tile, 0 (nothing) to 1; every task gives it where it knows the original or the truth.
- ``decision``: what it decided on the received tile; ``original``: what it decided on the original; ``label``: the truth.
- Any other number that a kind of task cares for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from djscc.errors import DjsccError


class TaskError(DjsccError):
    """A task, its weights or its settings cannot be used; the message names the value and the remedy."""


def _numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    """One tile's numbers: ``accuracy`` and ``agreement`` (0 or 1), ``task_loss``, and what else the task logged."""
    decision = entry.get("decision")
    numbers = {}
    if decision is not None:
        for name, key in (("accuracy", "label"), ("agreement", "original")):
            if entry.get(key) is not None:
                numbers[name] = float(decision == entry[key])
    for key, value in entry.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers["task_loss" if key == "loss" else key] = float(value)
    return numbers


def summarise(tiles: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Task by task, the mean over tiles of every number; accuracy only where there are labels."""
    values: dict[str, dict[str, list[float]]] = {}
    for tile in tiles:
        for name, entry in (tile.get("tasks") or {}).items():
            of_task = values.setdefault(name, {})
            for key, value in _numbers(entry).items():
                of_task.setdefault(key, []).append(value)
    return {name: {key: float(np.mean(v)) for key, v in of_task.items()} for name, of_task in values.items()}
