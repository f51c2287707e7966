# SPDX-License-Identifier: GPL-3.0-or-later
"""Values over time in a bounded number of bins: when they are full, neighbours are merged and each bin is twice as long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

BINS = 400
WIDTH_S = 0.5  # of a bin, at first
NAMES = 16  # quantities at most; later ones are left out


class History:
    """Mean, smallest and largest value of each quantity in each bin; ``bins`` of them at most, an hour or a year."""

    def __init__(self, bins: int = BINS, width_s: float = WIDTH_S) -> None:
        self.width_s, self._bins = width_s, bins + bins % 2
        self._values: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}  # (4, bins): count, sum, smallest, largest
        self.used = 0

    def add(self, time_s: float, values: Mapping[str, float]) -> None:
        """Take values of an instant, in seconds since the beginning."""
        while time_s >= self.width_s * self._bins:
            self._merge()
        place = max(0, int(time_s / self.width_s))
        self.used = max(self.used, place + 1)
        for name, value in values.items():
            table = self._values.get(name)
            if table is None:
                if len(self._values) >= NAMES:
                    continue
                table = self._values[name] = self._empty()
            table[0, place] += 1
            table[1, place] += value
            table[2, place] = min(table[2, place], value)
            table[3, place] = max(table[3, place], value)

    def _empty(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        table = np.zeros((4, self._bins))
        table[2], table[3] = np.inf, -np.inf
        return table

    def _merge(self) -> None:
        for name, table in self._values.items():
            pairs, merged = table.reshape(4, -1, 2), self._empty()
            half = self._bins // 2
            merged[:2, :half] = pairs[:2].sum(2)
            merged[2, :half], merged[3, :half] = pairs[2].min(1), pairs[3].max(1)
            self._values[name] = merged
        self.width_s *= 2
        self.used = -(-self.used // 2)

    def to_dict(self) -> dict[str, Any]:
        """``width_s``, and for each quantity lists of ``mean``, ``low``, ``high`` and ``count``; None in bins without values."""
        series = {}
        for name, table in self._values.items():
            count = table[0, : self.used]
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = table[1, : self.used] / count
            series[name] = {
                "count": count.astype(int).tolist(),
                "mean": _listed(mean, count),
                "low": _listed(table[2, : self.used], count),
                "high": _listed(table[3, : self.used], count),
            }
        return {"width_s": self.width_s, "bins": self.used, "series": series}


def _listed(values: np.ndarray[Any, np.dtype[np.float64]], count: np.ndarray[Any, Any]) -> list[float | None]:
    return [float(f"{v:.5g}") if n else None for v, n in zip(values.tolist(), count.tolist(), strict=True)]
