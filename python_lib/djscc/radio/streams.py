# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources and sinks of samples that need no GNU Radio: what each gives, and how one is opened from its endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from djscc.links import SampleReceiver, SampleSender, Security
from djscc.radio.endpoint import Endpoint
from djscc.radio.errors import StreamError
from djscc.radio.files import FileSink, FileSource
from djscc.radio.settings import RadioSettings
from djscc.radio.sigmf_files import About, Gap, Overrun, Recorder, SigmfSource

POLL_S = 0.2


@dataclass(frozen=True)
class End:
    """A transmission has ended, though another may follow."""


Item = NDArray[np.complex64] | Gap | Overrun | End | None  # None: nothing came for a moment


class SampleSource(Protocol):
    """Samples, gaps and ends in their order; None from time to time while nothing comes."""

    live: bool  # samples come at a pace of their own
    settings: RadioSettings  # what the source itself tells of how they were made

    def __iter__(self) -> Iterator[Item]:
        """Until there are no more."""

    def close(self) -> None:
        """Give up the source."""


class SampleSink(Protocol):
    """Where samples go."""

    def write(self, samples: NDArray[np.complex64]) -> bool:
        """Take samples; False when they could not be taken for a moment: give them again."""

    @property
    def taken(self) -> int:
        """How many of the samples that are to be given again have gone."""

    def close(self) -> None:
        """No more samples come."""


def open_source(endpoint: Endpoint, security: Security | None = None) -> SampleSource:
    """The source of an endpoint that is no radio."""
    if endpoint.kind == "zmq":
        return ZmqSource(endpoint.address, security)
    if endpoint.kind == "sigmf":
        return SigmfSource(endpoint.address)
    return FileSource(None if endpoint.kind == "-" else Path(endpoint.address))


def open_sink(endpoint: Endpoint, about: About, security: Security | None = None) -> SampleSink:
    """The sink of an endpoint that is no radio; ``about`` is for the metadata of a recording."""
    if endpoint.kind == "zmq":
        return ZmqSink(endpoint.address, security)
    if endpoint.kind == "sigmf":
        return Recorder(endpoint.address, about)
    return FileSink(None if endpoint.kind == "-" else Path(endpoint.address))


class ZmqSource:
    """Samples from a ``djscc transmit --sink zmq:``, or GNU Radio's ZMQ PUSH Sink."""

    live = True
    settings = RadioSettings()

    def __init__(self, address: str, security: Security | None) -> None:
        self._receiver = SampleReceiver(address, security)

    def __iter__(self) -> Iterator[Item]:
        while True:
            samples = self._receiver.read(POLL_S)
            yield End() if samples is not None and not len(samples) else samples

    def close(self) -> None:
        """Close the socket."""
        self._receiver.close()


class ZmqSink:
    """Samples to a ``djscc receive --source zmq:``, or GNU Radio's ZMQ PULL Source. It waits for who takes them."""

    def __init__(self, address: str, security: Security | None) -> None:
        self._sender = SampleSender(address, security)
        self._done = 0

    def write(self, samples: NDArray[np.complex64]) -> bool:
        """Send what of ``samples`` is not sent yet; False when nobody takes them for a moment."""
        self._done += self._sender.write(samples[self._done :], POLL_S)
        if self._done < len(samples):
            return False
        self._done = 0
        return True

    @property
    def taken(self) -> int:
        """How many of the samples that are to be given again have gone."""
        return self._done

    def close(self) -> None:
        """Say that the transmission has ended, and close."""
        self._sender.end()
        self._sender.close()


__all__ = [
    "POLL_S",
    "About",
    "End",
    "Gap",
    "Item",
    "Overrun",
    "SampleSink",
    "SampleSource",
    "StreamError",
    "open_sink",
    "open_source",
]
