# SPDX-License-Identifier: GPL-3.0-or-later
"""What a receiver tells of itself over ZeroMQ, PUB to SUB: each frame's record, its tiles, its symbols, and the run's settings.

A message has two or three parts: the topic, a JSON object (UTF-8), and perhaps a PNG. The object's ``kind`` is

``frame``   the frame's record as in ``frames.jsonl``, with ``header`` (FrameHeader.to_dict), ``constellation`` (up to 128 tracked
            symbols as [I, Q]) a few times a second; the PNG holds its tiles one below the other
``run``     the receiver's ``settings``, every few seconds, for those who come late
``info``    what a Frame Receiver's message port ``info`` says, its counters among it
``end``     the receiver stops

and each has ``session``, which tells one start of a receiver from the next, and ``sequence``, which counts its messages: a gap says
that this subscriber missed some. A subscriber that is slow or late misses messages; the receiver never waits.
"""

from __future__ import annotations

import io
import json
import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray
from PIL import Image

from djscc.links.sockets import Link, Security
from djscc.waveform import ReceivedFrame

logger = logging.getLogger(__name__)

ADDRESS = "tcp://127.0.0.1:5557"
TOPIC = "djscc"
POINTS = 128  # symbols of a constellation
CONSTELLATION_S = 0.25  # between constellations
SETTINGS_S = 2.0  # between repetitions of the run's settings
MAXIMUM_TILE_BYTES = 1 << 24  # of a frame's tiles; what is above is not sent
MAXIMUM_MESSAGE = 1 << 25  # bytes of any part that is read
LONGEST_INTEGER = 20  # characters: 64 bits
HIGH_WATER = 500


class MetricsPublisher:
    """Publishes on a PUB socket; binds unless the address begins with ``connect:``.

    Its method :meth:`frame` is an observer of a FrameSink: ``sink.observers.append(publisher.frame)``.

    Args:
        address: where to bind.
        security: keys, needed for an address beyond loopback.
        topic: first part of each message.
        settings: what is told of the run, again and again.
        tiles: whether the received tiles are published too.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        security: Security | None = None,
        topic: str = TOPIC,
        settings: Mapping[str, Any] | None = None,
        tiles: bool = True,
    ) -> None:
        self._link = Link(zmq.PUB, address, True, security, HIGH_WATER)
        self._topic, self._tiles = topic.encode(), tiles
        self.settings = dict(settings or {})
        self.status: Callable[[], Mapping[str, Any]] = dict  # what is told with each frame, such as frames_dropped
        self.session = secrets.token_hex(6)
        self.sequence = 0
        self._settings_at = self._constellation_at = -1e9

    @property
    def endpoint(self) -> str:
        """Where it is bound."""
        return self._link.endpoint

    def publish(self, message: Mapping[str, Any], png: bytes = b"") -> None:
        """Send one message."""
        if self.settings and message.get("kind") == "frame" and time.monotonic() - self._settings_at > SETTINGS_S:
            self.tell_settings()
        known = _finite({**message, "session": self.session, "sequence": self.sequence})
        text = json.dumps(known, default=str, allow_nan=False).encode()
        self.sequence += 1
        self._link.send([self._topic, text, png] if png else [self._topic, text])

    def tell_settings(self) -> None:
        """Send the run's settings now; frames do so every few seconds."""
        self._settings_at = time.monotonic()
        self.publish({"kind": "run", "settings": self.settings})

    def frame(self, frame: ReceivedFrame, record: Mapping[str, Any], tiles: NDArray[np.uint8] | None) -> None:
        """Send a received frame: its record, its tiles (N, H, W, C), and now and then some of its symbols."""
        message = {"kind": "frame", "header": frame.header.to_dict(), **record, **self.status()}
        if time.monotonic() - self._constellation_at >= CONSTELLATION_S:
            self._constellation_at = time.monotonic()
            message["constellation"] = constellation(frame)
        fits = self._tiles and tiles is not None and tiles.nbytes <= MAXIMUM_TILE_BYTES
        self.publish(message, png_of_tiles(tiles) if fits and tiles is not None else b"")

    def end(self) -> None:
        """Say that the receiver stops."""
        self.publish({"kind": "end"})

    def close(self) -> None:
        """Say that the receiver stops, and close."""
        self.end()
        self._link.close(linger_ms=500)


def _finite(value: Any) -> Any:
    """The same for JSON, which has no number for what is not finite: None in its place."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def constellation(frame: ReceivedFrame, points: int = POINTS) -> list[list[float]]:
    """Up to ``points`` of a frame's symbols, spread evenly over it, as [I, Q]; erased ones are left out."""
    known = np.flatnonzero(frame.received & np.isfinite(frame.symbols))
    chosen = frame.symbols[known[np.linspace(0, len(known) - 1, min(points, len(known))).astype(int)]]
    return [[round(float(s.real), 3), round(float(s.imag), 3)] for s in chosen]


def png_of_tiles(tiles: NDArray[np.uint8]) -> bytes:
    """Tiles (N, H, W, C) one below the other as a PNG, without loss; where they have neither one band nor three, each tile's bands
    one below the other."""
    width, bands = tiles.shape[2:]
    rows = tiles if bands == 3 else tiles.transpose(0, 3, 1, 2)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rows).reshape(-1, width, *((3,) if bands == 3 else ()))).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


def tiles_of_png(png: bytes, shape: tuple[int, int, int, int]) -> NDArray[np.uint8] | None:
    """The inverse; None for what is no such picture. Nothing is decoded before its size is known to be right."""
    count, height, width, bands = shape
    if min(shape) < 1 or count * height * width * bands > MAXIMUM_TILE_BYTES:
        return None
    rows = count * height * (1 if bands == 3 else bands)
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            if image.size != (width, rows) or image.mode != ("RGB" if bands == 3 else "L"):
                return None
            pixels = np.asarray(image)
            return (
                pixels.reshape(shape)
                if bands == 3
                else pixels.reshape(count, bands, height, width).transpose(0, 2, 3, 1)
            )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


@dataclass(frozen=True)
class Received:
    """One message of a receiver: its JSON object and its PNG, if there is one."""

    message: dict[str, Any]
    png: bytes = b""

    @property
    def kind(self) -> str:
        """frame, run, info or end."""
        return str(self.message.get("kind", "frame"))

    def tiles(self) -> NDArray[np.uint8] | None:
        """The frame's tiles (N, H, W, C), if they came."""
        header = self.message.get("header")
        if not self.png or not isinstance(header, dict):
            return None
        try:
            shape = (len(header["layers"]), *(int(header[key]) for key in ("tile_height", "tile_width", "bands")))
        except (KeyError, TypeError, ValueError):
            return None
        return tiles_of_png(self.png, shape)  # type: ignore[arg-type]


class MetricsSubscriber:
    """Reads what receivers publish; connects unless the address begins with ``bind:``.

    ``damaged`` counts messages that were no such messages, ``missed`` those that a gap in the sequence tells of.
    """

    def __init__(self, address: str = ADDRESS, security: Security | None = None, high_water: int = HIGH_WATER) -> None:
        self._link = Link(zmq.SUB, address, False, security, high_water)
        self.damaged = self.missed = 0
        self._next: dict[str, int] = {}

    @property
    def connected(self) -> bool:
        """Whether a receiver is there now."""
        self._link.check()
        return self._link.peers > 0

    def receive(self, timeout_s: float | None = None) -> Received | None:
        """The next message; None when none came within ``timeout_s``."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            parts = self._link.receive(left)
            if parts is None:
                return None
            received = self._read(parts)
            if received is not None:
                return received
            self.damaged += 1

    def _read(self, parts: list[bytes]) -> Received | None:
        if not 2 <= len(parts) <= 3 or max(map(len, parts)) > MAXIMUM_MESSAGE:
            return None
        try:
            message = json.loads(parts[1], parse_constant=_refuse, parse_int=_integer)
        except (ValueError, RecursionError):  # the latter of brackets nested too deeply
            return None
        if not isinstance(message, dict):
            return None
        session, sequence = message.get("session"), message.get("sequence")
        if isinstance(session, str) and isinstance(sequence, int):
            self.missed += max(0, sequence - self._next.get(session, sequence))
            self._next.pop(session, None)
            self._next[session] = sequence + 1
            while len(self._next) > 16:
                self._next.pop(next(iter(self._next)))
        return Received(message, parts[2] if len(parts) == 3 else b"")

    def close(self) -> None:
        """Close the socket."""
        self._link.close(linger_ms=0)


def _integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"{text[:20]}... is no number that is sent here")
    return int(text)


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")
