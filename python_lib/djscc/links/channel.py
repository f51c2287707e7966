# SPDX-License-Identifier: GPL-3.0-or-later
"""A channel as a process of its own between a transmitter and a receiver, over ZeroMQ, files or pipes."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from djscc.channels import ChannelDescription, SampleChannel
from djscc.links.samples import SampleReceiver, SampleSender
from djscc.links.sockets import LinkError, Security
from djscc.waveform import WaveformSettings

POLL_S = 0.2
CUT_OFF_S = 2.0  # what is under way at an interrupt has so long to leave, and the word of the end as long again
CHUNK = 1 << 17  # bytes read at once

Samples = NDArray[np.complex64]


class Source(Protocol):
    """Where samples come from: as SampleReceiver."""

    def read(self, timeout_s: float | None = None) -> Samples | None: ...


class Sink(Protocol):
    """Where samples go: as SampleSender."""

    def write(self, samples: Samples, timeout_s: float | None = None) -> int: ...
    def end(self, timeout_s: float = ...) -> bool: ...


class ChannelProcess:
    """Moves samples from a source through a channel to a sink.

    When a transmission ends, what is still under way is sent after it, the sink is told, and the next transmission finds the
    channel as at its start. A transmitter that was killed says nothing: the channel goes on where it was when the next comes.

    Args:
        channel: the channel.
        settings: the waveform, for sample rate and signal power.
        source, sink: the ends.
        seed: of the channel.
        real_time: let samples through at the sample rate at most.
    """

    def __init__(
        self,
        channel: ChannelDescription,
        settings: WaveformSettings,
        source: Source,
        sink: Sink,
        seed: int = 1,
        real_time: bool = False,
    ) -> None:
        self._description, self._settings, self._seed = channel, settings, seed
        self._source, self._sink, self._real_time = source, sink, real_time
        self._channel = self._fresh()
        self._begun = False  # within a transmission
        self._rest = np.empty(0, np.complex64)  # not taken by the sink before the time was over
        self.counts = {"samples_in": 0, "samples_out": 0, "transmissions": 0}
        self._over: Callable[[], bool] = lambda: False

    def _fresh(self) -> SampleChannel:
        s = self._settings
        return SampleChannel(self._description, s.sample_rate, s.samples_per_symbol, s.mean_power, self._seed)

    def run(self, once: bool = False, interrupt: Callable[[], bool] = lambda: False) -> None:
        """Go on until a file or pipe has ended, or ``interrupt`` says True; ``once``, until a transmission has ended. A
        transmission that an interrupt cuts off is ended for the sink as well."""
        self._over = interrupt
        self._pass_on(once)
        if self._begun:
            end = time.monotonic() + CUT_OFF_S
            self._over = lambda: time.monotonic() >= end
            self._end(CUT_OFF_S)

    def _pass_on(self, once: bool) -> None:
        clock, passed = time.monotonic(), 0.0
        while not self._over():
            torn: LinkError | None = None
            try:
                samples = self._source.read(POLL_S)
            except LinkError as error:  # what came before is still sent, and its end told
                if not self._begun:
                    raise
                torn, samples = error, np.empty(0, np.complex64)
            if samples is None:
                clock, passed = time.monotonic(), 0.0
                continue
            if not len(samples):
                self._end()
                if torn is not None:
                    raise torn
                if once or isinstance(self._source, _File):  # nothing follows the end of a file
                    return
                continue
            self._begun = True
            self.counts["samples_in"] += len(samples)
            self._send(self._channel.push(samples))
            passed += len(samples) / self._settings.sample_rate
            now = time.monotonic()
            if clock + passed < now:  # no credit is saved for later
                clock, passed = now, 0.0
            elif self._real_time:
                time.sleep(clock + passed - now)

    def _end(self, *timeout_s: float) -> None:
        self._send(np.concatenate([self._rest, self._channel.flush()]))
        self.counts["transmissions"] += self._sink.end(*timeout_s)
        self._channel, self._begun = self._fresh(), False

    def _send(self, samples: Samples) -> None:
        """Wait for the other end in short turns, so that an interrupt is heeded."""
        while len(samples) and not self._over():
            sent = self._sink.write(samples, POLL_S)
            self.counts["samples_out"] += sent
            samples = samples[sent:]
        self._rest = samples


class _File:
    """A file or pipe of cf32 samples as source or sink."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._torn = b""
        self._ended = False

    def read(self, timeout_s: float | None = None) -> Samples | None:
        if self._ended:
            time.sleep(timeout_s or 0)
            return None
        ready, _, _ = select.select([self._file], [], [], timeout_s)
        if not ready:
            return None
        data = self._torn + os.read(self._file.fileno(), CHUNK)
        if len(data) == len(self._torn):
            self._ended = True
            if data:
                raise LinkError(f"{self._name}: ends within a sample ({len(data)} of 8 bytes); all before it was taken")
            return np.empty(0, np.complex64)
        whole = len(data) // 8 * 8
        self._torn = data[whole:]
        return np.frombuffer(data[:whole], "<c8") if whole else None

    def write(self, samples: Samples, timeout_s: float | None = None) -> int:
        try:
            self._file.write(np.asarray(samples, "<c8").tobytes())
            self._file.flush()
        except OSError as error:
            raise LinkError(f"{self._name}: cannot be written ({error.strerror})") from error
        return len(samples)

    def end(self, timeout_s: float = 0) -> bool:
        return True


@contextmanager
def open_source(text: str, security: Security) -> Iterator[Source]:
    """Open ``zmq:ADDRESS``, ``file:NAME`` or ``-``."""
    kind, _, rest = text.partition(":")
    if kind == "zmq" and rest:
        receiver = SampleReceiver(rest, security)
        try:
            yield receiver
        finally:
            receiver.close()
        return
    with _open(text, "--in", "rb", sys.stdin.buffer) as file:
        yield file


@contextmanager
def open_sink(text: str, security: Security) -> Iterator[Sink]:
    """Open ``zmq:ADDRESS``, ``file:NAME`` or ``-``."""
    kind, _, rest = text.partition(":")
    if kind == "zmq" and rest:
        sender = SampleSender(rest, security)
        try:
            yield sender
        finally:
            sender.close()
        return
    with _open(text, "--out", "wb", sys.stdout.buffer) as file:
        yield file


@contextmanager
def _open(text: str, option: str, mode: str, standard: BinaryIO) -> Iterator[_File]:
    if text == "-":
        yield _File(standard, "standard input" if "r" in mode else "standard output")
        return
    kind, _, rest = text.partition(":")
    if kind != "file" or not rest:
        raise LinkError(f"{option} {text!r} is unknown; give zmq:tcp://HOST:PORT, file:NAME or -")
    try:
        file = Path(rest).open(mode)  # noqa: SIM115
    except OSError as error:
        raise LinkError(f"{option} {rest}: cannot be opened ({error.strerror}); check the path") from error
    with file:
        yield _File(file, rest)  # type: ignore[arg-type]
