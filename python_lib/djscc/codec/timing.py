# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast something runs, and what the machine could do at best."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch


def rate(action: Callable[[], Any], seconds: float = 3.0) -> float:
    """Calls a second, after a warm-up; the best of three."""
    action()
    best = 0.0
    for _ in range(3):
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds / 3:
            action()
            count += 1
        best = max(best, count / (time.perf_counter() - started))
    return best


def matmul_rates(seconds: float = 3.0) -> dict[str, float]:
    """Multiply-adds a second of a product of two matrices of 2048 x 2048, by their type."""
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.randn(2048, 2048).to(dtype)
        rates[str(dtype).removeprefix("torch.")] = rate(partial(torch.matmul, matrix, matrix), seconds) * 2048**3
    return rates
