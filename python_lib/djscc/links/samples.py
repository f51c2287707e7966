# SPDX-License-Identifier: GPL-3.0-or-later
"""Complex samples over ZeroMQ, PUSH to PULL: nothing is lost while both ends run, and the slower one sets the pace.

A message is interleaved float32 I and Q (little-endian), as GNU Radio's ZMQ PUSH Sink and PULL Source have it, without tags. An
empty message says that a transmission has ended. Either end may start first, and may be started again in the middle.
"""

from __future__ import annotations

import logging

import numpy as np
import zmq
from numpy.typing import NDArray

from djscc.links.sockets import Link, LinkError, Security

logger = logging.getLogger(__name__)

CHUNK = 1 << 14  # samples in a message
LINGER_MS = 60_000
HIGH_WATER = 16  # messages that wait at each end: 262144 samples


class _SampleLink:
    def __init__(self, kind: int, address: str, bind: bool, security: Security | None) -> None:
        self._link = Link(kind, address, bind, security, HIGH_WATER)
        self._shared = False
        self._linger_ms = LINGER_MS

    @property
    def endpoint(self) -> str:
        """Where it is bound, or connected to."""
        return self._link.endpoint

    def _watch(self, what: str) -> None:
        if self._link.peers > 1 and not self._shared:
            logger.warning("%s: %d ends are connected, and %s; stop all but one", self.endpoint, self._link.peers, what)
        self._shared = self._link.peers > 1

    def close(self) -> None:
        """Close; a slow other end has a minute to take what was written (one that is gone is not waited for)."""
        self._link.close(self._linger_ms)


class SampleSender(_SampleLink):
    """Writes samples to a link; binds unless the address begins with ``connect:``."""

    def __init__(self, address: str, security: Security | None = None) -> None:
        super().__init__(zmq.PUSH, address, True, security)

    def write(self, samples: NDArray[np.complex64], timeout_s: float | None = None) -> int:
        """Send samples, waiting for the other end as long as it takes, or ``timeout_s``; returns how many were sent."""
        data = np.ascontiguousarray(samples, dtype="<c8")
        for at in range(0, len(data), CHUNK):
            if not self._link.send([data[at : at + CHUNK].tobytes()], timeout_s):
                return at
            self._link.check()
            self._watch("each gets but a part of the samples")
        return len(data)

    def end(self, timeout_s: float = LINGER_MS / 1000) -> bool:
        """Say that the transmission has ended; False when nobody took it within ``timeout_s`` (a second where nobody is there):
        then :meth:`close` does not wait either."""
        told = self._link.send([b""], timeout_s if self._link.peers else min(timeout_s, 1.0))
        self._linger_ms = LINGER_MS if told else 1000
        return told


class SampleReceiver(_SampleLink):
    """Reads samples from a link; connects unless the address begins with ``bind:``."""

    def __init__(self, address: str, security: Security | None = None) -> None:
        super().__init__(zmq.PULL, address, False, security)

    def read(self, timeout_s: float | None = None) -> NDArray[np.complex64] | None:
        """The next samples; none of them (length 0) where a transmission ended, None when nothing came within ``timeout_s``."""
        parts = self._link.receive(timeout_s)
        if parts is None:
            return None
        self._link.check()
        self._watch("their samples come mixed")
        if len(parts) != 1 or len(parts[0]) % 8:
            raise LinkError(
                f"{self.endpoint}: {len(parts)} parts of {len(parts[-1])} bytes are no complex float32 samples; does the other "
                "end send samples (without tags)?"
            )
        return np.frombuffer(parts[0], dtype="<c8")
