# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C and SIGTERM as a request to come to an end; the second one ends at once."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType


class Interrupt:
    """Within its ``with`` block the first signal sets ``requested``; so does the end of ``seconds``, if given."""

    def __init__(self, seconds: float | None = None) -> None:
        self.interrupted = False
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._old: dict[int, object] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._old[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    @property
    def requested(self) -> bool:
        """True when it is time to end."""
        return self.interrupted or (self._deadline is not None and time.monotonic() >= self._deadline)
