# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors in blocks end the flowgraph: never a dead thread that leaves the others waiting.

An exception that leaves Python's ``work()`` either kills the process or, as is GNU Radio's default, the block's thread alone, and
the flowgraph then never ends. So each method that the scheduler calls is ``guarded``: it keeps the exception in ``block.error``,
logs it, and tells the scheduler that the block is done, which ends its neighbours, and theirs.

A program that GRC generates looks at none of this and would exit with 0. So an error that nobody has taken notice of (``taken``)
makes the process exit with 1.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
from collections.abc import Callable
from typing import Any

WORK_DONE = -1
_untaken: list[BaseException] = []


def taken(error: BaseException) -> None:
    """Say that somebody acts upon a block's error."""
    _untaken[:] = [other for other in _untaken if other is not error]


def _exit() -> None:
    if _untaken:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


atexit.register(_exit)


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``work``, ``general_work`` or ``start`` of a block, or a handler of its messages (``stop``: ``close_all``)."""

    @functools.wraps(method)  # GNU Radio finds message handlers by their name
    def wrapper(self: Any, *arguments: Any) -> Any:
        if self.error is not None:
            return WORK_DONE
        try:
            return method(self, *arguments)
        except Exception as error:
            _keep(self, error)
            return WORK_DONE

    return wrapper


def close_all(block: Any, *steps: Callable[[], Any]) -> None:
    """Take every step of a block's ``stop``, though one before it failed, or the block did; the first error is kept."""
    for step in steps:
        try:
            step()
        except Exception as error:
            if block.error is None:
                _keep(block, error)
            else:
                block.logger.error(f"then {type(error).__name__}: {error}")


def _keep(block: Any, error: Exception) -> None:
    block.error = error
    _untaken.append(error)
    block.logger.error(f"ended by {type(error).__name__}: {error}")
