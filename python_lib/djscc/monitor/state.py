# SPDX-License-Identifier: GPL-3.0-or-later
"""What the monitor knows: received messages, gathered into a state of bounded size, fed and asked from several threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from djscc.errors import DjsccError
from djscc.links import Received
from djscc.monitor.history import History
from djscc.monitor.picture import Picture
from djscc.waveform import FrameHeader

SCENES = 8  # pictures that are kept
EVENTS = 12
ROWS = 60  # of the settings
TEXT = 160  # characters of a received string
RATE_S = 5.0  # over which frames a second are counted
PICTURE_SHARE = 0.4  # of the time may go into decoding pictures; frames beyond that are counted and mapped only
GAP = 1000  # frame numbers that may be missing in a row; more is another transmission
SILENT_S = 10.0
LARGEST = 1e30  # of a received number: sums of them stay finite

SHOWN = ("snr_est_db", "cfo_hz", "clock_ppm", "gain_db", "erased")
QUALITIES = ("psnr_db", "ssim", "ms_ssim", "lpips")
TASKS = ("accuracy", "agreement")


class MonitorState:
    """Feed it with :meth:`accept`, read :meth:`snapshot` and :meth:`png`."""

    def __init__(self, source: str = "") -> None:
        self.source = source[:TEXT]
        self.connected = False
        self.problem = ""
        self._lock = threading.Lock()
        self._began: float | None = None
        self._clear()

    def _clear(self) -> None:
        self._history = History()
        self._scenes: dict[int, Picture] = {}
        self._settings: list[tuple[str, str]] = []
        self._events: deque[tuple[float, str]] = deque(maxlen=EVENTS)
        self._latest: dict[str, Any] = {}
        self._constellation: list[list[float]] = []
        self._counts = {
            "frames": 0, "tiles": 0, "refused": 0, "lost": 0, "frames_dropped": 0, "overruns": 0, "lost_samples": 0,
            "missed": 0, "damaged": 0, "pictures_skipped": 0, "sessions": 0,
        }  # fmt: skip
        self._session: str | None = None
        self._sequence = -1
        self._number: int | None = None
        self._dropped_before = 0
        self._dropped = 0
        self._arrivals: deque[float] = deque(maxlen=4096)
        self._heard_at: float | None = None
        self._busy_s = 0.0
        self._busy_since = 0.0

    def accept(self, received: Received, now: float | None = None) -> None:
        """Take one message; ``now`` is the time in s (of any clock that ascends)."""
        now = time.monotonic() if now is None else now
        with self._lock:
            if self._began is None:
                self._began = now
            self._heard_at = now
            self._follow(received.message, now)
            if received.kind == "run":
                self._settings = _rows(received.message.get("settings"))
            elif received.kind == "end":
                self._note(now, "the receiver stopped")
            elif received.kind == "frame":
                self._frame(received, now)

    def damaged(self, count: int) -> None:
        """So many messages could not be read, in all."""
        self._counts["damaged"] = count

    def _follow(self, message: Mapping[str, Any], now: float) -> None:
        """Tell another start of the receiver, and messages that were missed."""
        session, sequence = _text(message.get("session")), message.get("sequence")
        if session != self._session:
            if self._session is not None:
                self._note(now, "the receiver was started again")
            self._session, self._sequence, self._number = session, -1, None
            self._dropped_before += self._dropped
            self._dropped = 0
            self._counts["sessions"] += 1
        if isinstance(sequence, int):
            if self._sequence >= 0:
                self._counts["missed"] += max(0, sequence - self._sequence - 1)
            self._sequence = sequence

    def _frame(self, received: Received, now: float) -> None:
        message, counts = received.message, self._counts
        counts["frames"] += 1
        self._arrivals.append(now)
        tiles = [entry for entry in _list(message.get("tiles")) if isinstance(entry, dict)][:1024]
        counts["tiles"] += len(tiles)
        self._count_lost(message)
        values = {key: value for key in SHOWN if (value := _number(message.get(key))) is not None}
        for key in QUALITIES:
            measured = [v for tile in tiles if (v := _number(tile.get(key))) is not None]
            if measured:
                values[key] = sum(measured) / len(measured)
        tasks = message.get("tasks")
        if isinstance(tasks, dict):
            for task, results in list(tasks.items())[:3]:
                for name in TASKS:
                    if isinstance(results, dict) and (number := _number(results.get(name))) is not None:
                        values[f"{name} of {_text(task)[:30]}"] = number
        if "refused" in message:
            counts["refused"] += 1
            self._note(now, f"frame refused: {_text(message['refused'])}")
        assert self._began is not None
        self._history.add(now - self._began, {"frames": 1.0} | values)
        self._latest = values | {
            key: _text(message.get(key)) for key in ("scene_id", "codec", "codec_id", "time") if key in message
        }
        for key in ("frame_number", "ratio", "on_air_ratio"):
            self._latest[key] = _number(message.get(key))
        points = [p for p in _list(message.get("constellation"))[:256] if _is_point(p)]
        self._constellation = points or self._constellation
        self._show(received, tiles, now)

    def _count_lost(self, message: Mapping[str, Any]) -> None:
        for key in ("overruns", "lost_samples"):
            self._counts[key] += int(_number(message.get(key)) or 0)
        dropped = _number(message.get("frames_dropped"))
        if dropped is not None:  # a running total
            self._dropped = int(dropped)
            self._counts["frames_dropped"] = self._dropped_before + self._dropped
        number = message.get("frame_number")
        if not isinstance(number, int):
            return
        if self._number is not None:
            gap = (number - self._number - 1) & 0xFFFF
            if 0 < gap < GAP:
                self._counts["lost"] += gap
        self._number = number

    def _show(self, received: Received, tiles: list[dict[str, Any]], now: float) -> None:
        try:
            header = FrameHeader.from_dict(received.message["header"])
            picture = self._scenes.pop(header.scene_id, None)
            if picture is None or not picture.fits(header):
                picture = Picture(header)
            if not picture.fits(header):
                return
        except (DjsccError, KeyError, TypeError, ValueError):
            return
        while len(self._scenes) >= SCENES:
            self._scenes.pop(next(iter(self._scenes)))
        self._scenes[header.scene_id] = picture  # the last one is the newest
        pixels = None
        if received.png:
            if now - self._busy_since > 1:
                self._busy_s, self._busy_since = 0.0, now
            if self._busy_s < PICTURE_SHARE:
                begin = time.perf_counter()
                pixels = received.tiles()
                self._busy_s += time.perf_counter() - begin
            else:
                self._counts["pictures_skipped"] += 1
        picture.add(header, tiles, pixels)

    def _note(self, now: float, text: str) -> None:
        assert self._began is not None
        if not self._events or self._events[-1][1] != text:
            self._events.append((now - self._began, text))

    def snapshot(self, now: float | None = None) -> dict[str, Any]:
        """All that the page shows, ready for JSON."""
        now = time.monotonic() if now is None else now
        with self._lock:
            recent = sum(now - at <= RATE_S for at in self._arrivals)
            heard = None if self._heard_at is None else now - self._heard_at
            return {
                "source": self.source,
                "connected": self.connected,
                "problem": self.problem,
                "silent_s": None if heard is None else round(heard, 1),
                "silent": heard is None or heard > SILENT_S,
                "elapsed_s": 0.0 if self._began is None else round(now - self._began, 1),
                "rate": recent / RATE_S,
                "counts": dict(self._counts),
                "latest": dict(self._latest),
                "history": self._history.to_dict(),
                "constellation": self._constellation,
                "scenes": [picture.to_dict() for picture in reversed(self._scenes.values())],
                "settings": self._settings,
                "events": [(round(at, 1), text) for at, text in self._events],
            }

    def png(self, scene: int, kind: str) -> bytes | None:
        """The ``picture`` or ``map`` of a scene; None when it is not there (any more)."""
        with self._lock:
            picture = self._scenes.get(scene)
            return None if picture is None else picture.png(kind)


def _rows(settings: object, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as flat rows of short text."""
    rows: list[tuple[str, str]] = []
    if not isinstance(settings, dict):
        return rows
    for key, value in list(settings.items())[:ROWS]:
        name = f"{prefix}{_text(key)[:60]}"
        if isinstance(value, dict) and prefix.count(".") < 3:
            rows += _rows(value, f"{name}.")
        else:
            rows.append((name, _text(value)))
    return rows[:ROWS]


def _text(value: object) -> str:
    return (f"{value:.12g}" if isinstance(value, float) else str(value))[:TEXT]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < LARGEST else None  # NaN is not below it


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_number(part) is not None for part in value)
