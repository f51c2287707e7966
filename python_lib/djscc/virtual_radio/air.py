# SPDX-License-Identifier: GPL-3.0-or-later
"""The air between the radios: one timeline, on which every transmitter is heard by every receiver."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import numpy as np

from djscc.channels.streams import Complex, complex_normal, random_generator
from djscc.virtual_radio.path import Path
from djscc.virtual_radio.radio import Radio, Receiver, Transmitter
from djscc.virtual_radio.settings import AirSettings

TICK_S = 0.008  # how often the real clock moves the air on
STEP_S = 0.016  # the longest time that the air goes on at once
BEHIND_S = 0.25  # when the machine is further behind than this, the air's clock is held instead
STREAM_SAMPLES = 16384  # the longest that a stream clock goes on at once
PATIENCE_S = 1.0  # a stream clock waits for a transmitter so long before it takes it for silent


class Air:
    """Radios and what lies between them, moved on by a thread of its own between ``start`` and ``stop``.

    ``changed`` guards the radios and their streams: hold it to touch them, notify it after that, wait on it for samples. The
    sums are done outside of it.
    """

    def __init__(self, settings: AirSettings) -> None:
        self.settings = settings
        self.radios = [Radio(radio, settings.address(i), i) for i, radio in enumerate(settings.radios)]
        self.changed = threading.Condition()
        self.time = 0.0
        """Seconds that have passed in the air."""
        self.held_s = 0.0
        """Seconds by which the air's clock was held, because this machine was too slow for it."""
        self.error: Exception | None = None
        self._receptions = [_Reception(self, radio) for radio in self.radios]
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._starved_since: float | None = None

    @property
    def streams(self) -> bool:
        """Whether time waits for the clients."""
        return self.settings.clock == "stream"

    def start(self) -> None:
        """Let time pass."""
        self._stopping = False
        run = self._run_stream if self.streams else self._run_real
        self._thread = threading.Thread(target=self._guarded, args=(run,), name="air", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop time."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
        if self._thread is not None:
            self._thread.join(10)

    def least(self, rate: float) -> int:
        """The smallest capacity of a queue at this sample rate: the air comes in steps, which must fit in."""
        return round(4 * STEP_S * rate)

    def fill(self, rate: float) -> int:
        """Samples that a transmitter's queue should hold before it begins to send."""
        return 0 if self.streams else round(2.5 * STEP_S * rate)

    @property
    def stopped(self) -> bool:
        """Whether no time passes any more: who waits for samples should not."""
        return self._stopping or self.error is not None

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # the clients are let go; the server reports it
            with self.changed:
                self.error = error
                self.changed.notify_all()

    def _run_real(self) -> None:
        began = time.monotonic() - self.time
        while not self._stopping:
            behind = time.monotonic() - began - self.time
            if behind > BEHIND_S:
                held = behind - STEP_S
                began += held
                self.held_s += held
                behind = STEP_S
            if behind < TICK_S:
                time.sleep(TICK_S - behind)
                continue
            step = min(behind, STEP_S)
            self.step(self.time + step)
            # behind or not, the clients get their turn: a late air must not cost them samples
            time.sleep(step / 8)

    def _run_stream(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self._stopping or self._stream_step() > 0, STEP_S)
                if self._stopping:
                    return
                step = self._stream_step()
                idle = not any(radio.transmitter.stream or radio.receiver.stream for radio in self.radios)
                silent = not any(radio.transmitter.stream for radio in self.radios)
                if step == 0 and not idle:
                    self._lose_patience()
                    continue
                self._starved_since = None
            step = STEP_S if idle else step
            self.step(self.time + step)
            if silent:  # while nobody sends, time passes as everywhere: there is nothing to hurry for
                time.sleep(step)

    def _stream_step(self) -> float:
        """Seconds that a stream clock may go on now."""
        limits = []
        slack = 1e-9  # so that rounding leaves no sample behind
        for radio in self.radios:
            transmitter, receiver = radio.transmitter, radio.receiver
            if transmitter.stream is not None:
                known = transmitter.stream.limit(transmitter.index)
                if known is not None:
                    limits.append(
                        transmitter.anchor + (transmitter.index + known) / transmitter.true_rate + slack - self.time
                    )
                elif transmitter.stream.waiting:
                    limits.append(STREAM_SAMPLES / transmitter.true_rate)
            if receiver.stream is not None and (receiver.stream.remaining is None or receiver.stream.remaining > 0):
                limits.append(min(receiver.stream.room, STREAM_SAMPLES) / receiver.true_rate)
        fastest = max(max(radio.transmitter.true_rate, radio.receiver.true_rate) for radio in self.radios)
        step = min([*limits, STREAM_SAMPLES / fastest]) if limits else 0.0
        return step if step * fastest >= 1 else 0.0

    def _lose_patience(self) -> None:
        """Time stands: a transmitter that has nothing to send for too long, while somebody listens, is taken for silent."""
        listening = [r.receiver.stream for r in self.radios if r.receiver.stream is not None]
        if not any(stream.room > 0 for stream in listening):
            self._starved_since = None
            return
        now = time.monotonic()
        self._starved_since = self._starved_since or now
        if now - self._starved_since > PATIENCE_S:
            self._starved_since = None
            for radio in self.radios:
                stream = radio.transmitter.stream
                if stream is not None and not stream.waiting:
                    stream.give_up()

    def step(self, until: float) -> None:
        """Move the air on to this time."""
        with self.changed:
            sent: dict[Transmitter, Complex] = {}
            for radio in self.radios:
                transmitter = radio.transmitter
                count = transmitter.due(until)
                pulled = transmitter.stream.pull(count, transmitter.index) if transmitter.stream is not None else None
                sent[transmitter] = np.zeros(count, np.complex64) if pulled is None else pulled
            for reception in self._receptions:
                reception.prepare(until)
            for transmitter, stretch in sent.items():
                transmitter.index += len(stretch)
        arrived = [reception.hear(sent, until) for reception in self._receptions]
        with self.changed:
            self.time = until
            for reception, samples in zip(self._receptions, arrived, strict=True):
                reception.deliver(samples)
            self.changed.notify_all()


class _Reception:
    """What one receiver hears, while its client has a stream open."""

    def __init__(self, air: Air, radio: Radio) -> None:
        self._air, self._radio = air, radio
        self._receiver: Receiver = radio.receiver
        self._paths: list[Path] = []
        self._heard: list[Complex] = []  # by path, what came out and is not mixed yet
        self._generation = -1
        self._noise = random_generator(air.settings.seed, f"noise of radio {radio.number}")
        self._noise_dbm_hz = radio.settings.noise_density_dbm()
        self._seeds = itertools.count(air.settings.seed * 1000 + radio.number * 100)
        self._active = False

    def prepare(self, until: float) -> None:
        """Before samples are sent: make the paths that are missing. Called with the lock held."""
        receiver = self._receiver
        if receiver.stream is None:
            self._active, self._paths = False, []
            receiver.index += receiver.due(until)
            return
        transmitters = [
            radio.transmitter for radio in self._air.radios if radio is not self._radio or self._air.settings.own_signal
        ]
        whole = len(self._paths) == len(transmitters) and self._active and self._generation == receiver.generation
        if not whole:
            self._paths = [Path(self._air.settings, t, receiver, next(self._seeds)) for t in transmitters]
            self._heard = [np.zeros(0, np.complex64) for _ in transmitters]
        for i, path in enumerate(self._paths):
            if (
                path.generations[0] != path.transmitter.generation
            ):  # its rate is another: begin where the receiver will be
                pending = self._heard[i]
                index = receiver.index
                receiver.index += len(pending)
                self._paths[i] = Path(self._air.settings, path.transmitter, receiver, next(self._seeds))
                receiver.index = index
        self._active, self._generation = True, receiver.generation

    def hear(self, sent: dict[Transmitter, Complex], until: float) -> Complex | None:
        """Mix what arrives, 1 being full scale; None while nobody listens."""
        if not self._active:
            return None
        receiver = self._receiver
        for i, path in enumerate(self._paths):
            came = path.push(sent[path.transmitter])
            self._heard[i] = np.concatenate([self._heard[i], came]) if len(self._heard[i]) else came
        count = min([len(part) for part in self._heard] + ([receiver.due(until)] if not self._heard else []))
        density = 10 ** ((self._noise_dbm_hz - receiver.level_dbm) / 10)
        mixed = complex_normal(self._noise, count, density * receiver.true_rate)
        for i, part in enumerate(self._heard):
            mixed += part[:count]
            self._heard[i] = part[count:]
        return mixed

    def deliver(self, samples: Complex | None) -> None:
        """Hand over to the client. Called with the lock held."""
        receiver = self._receiver
        if samples is None or receiver.stream is None or self._generation != receiver.generation:
            return
        words = receiver.convert(samples)
        receiver.stream.put(receiver.index, words)
        receiver.index += len(samples)
        receiver.watch_level(samples)
