# SPDX-License-Identifier: GPL-3.0-or-later
"""The air's side of the virtual USRP: what gr-djscc's UHD module (gr-djscc/virtual_usrp) asks for and is told.

A connection says in its first line what it is for: RADIOS lists the radios; CONTROL gets and sets values by name, a line each; RX
and TX carry samples in packets of a header and 16-bit I and Q, RX also takes the stream commands as lines.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import math
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from djscc.virtual_radio.air import Air
from djscc.virtual_radio.models import Range
from djscc.virtual_radio.radio import OutOfRangeError, Radio, Side
from djscc.virtual_radio.streams import ReceiveStream, TransmitStream

PORT = 30432
HEADER = struct.Struct(
    "<IIqdd"
)  # samples (or event), flags, whole and fractional seconds of the device's time, sample rate
AFTER_LOSS, LAST, LATE_COMMAND = 1, 2, 4  # flags of received packets
START_OF_BURST, END_OF_BURST, HAS_TIME = 1, 2, 4  # flags of packets to send
EVENTS = {"sent": 1, "underrun": 2, "late": 8}  # UHD's codes
PACKET_SAMPLES = 4096
MAXIMUM_SAMPLES = 1 << 16  # of a packet to send
BUFFER_S = 0.025  # that one of the radio's buffers holds
LATENCY_SAMPLES = 64  # between a command to stream and the first sample
DRAIN_S = 2.0  # what was to be sent when the client went away still is, for so long
MODULE = "libdjscc_virtual_usrp.so"


def module_folder() -> Path | None:
    """The folder that UHD_MODULE_PATH must name: where the module was installed, beside the blocks, this Python or on the
    system."""
    folders = [Path(part) for part in os.environ.get("UHD_MODULE_PATH", "").split(":") if part]
    with contextlib.suppress(ImportError, ValueError):
        blocks = importlib.util.find_spec("gnuradio.djscc")
        if blocks is not None and blocks.origin is not None:
            folders += [parent / "lib" / "djscc" / "uhd-modules" for parent in Path(blocks.origin).parents[3:7]]
    folders += [Path(prefix) / "lib" / "djscc" / "uhd-modules" for prefix in (sys.prefix, "/usr/local", "/usr")]
    return next((folder for folder in folders if (folder / MODULE).is_file()), None)


class UsrpSession:
    """One connection of the UHD module to one virtual USRP."""

    def __init__(self, air: Air, radio: Radio, connection: socket.socket) -> None:
        self.air, self.radio, self._connection = air, radio, connection
        self._input = connection.makefile("rb")
        self._shift = {"rx": 0.0, "tx": 0.0}

    def serve(self) -> None:
        """Answer until the client goes away."""
        purposes: dict[str, Callable[[], None]] = {
            "RADIOS": self._list,
            "CONTROL": self._control,
            "RX": self._receive,
            "TX": self._transmit,
        }
        serve = purposes.get(self._line())
        if serve is not None:
            serve()

    def _line(self) -> str:
        return self._input.readline(512).decode("latin-1").strip()

    def _list(self) -> None:
        radios = [radio for radio in self.air.radios if radio.settings.kind == "usrp"]
        self._line()
        self._say(" ".join(f"{radio.address} {radio.serial}" for radio in radios))

    def _say(self, text: str) -> None:
        self._connection.sendall(f"{text}\n".encode())

    # ------------------------------------------------------------------ values

    def _control(self) -> None:
        while line := self._line():
            command, _, rest = line.partition(" ")
            try:
                with self.air.changed:
                    if command == "get":
                        self._say(self._get(rest))
                    else:
                        name, _, value = rest.partition(" ")
                        self._say(f"ok {self._set(name, value)}")
                    self.air.changed.notify_all()
            except (OutOfRangeError, ValueError, KeyError) as error:
                self._say(f"error: {rest}: {error}")

    def _side(self, name: str) -> Side:
        return self.radio.receiver if name == "rx" else self.radio.transmitter

    def _get(self, name: str) -> str:
        if name == "serial":
            return self.radio.serial
        if name.startswith("time_"):
            seconds = self.air.time * (1 + self.radio.settings.clock_ppm * 1e-6)
            return "{} {!r}".format(*self._device_time(math.floor(seconds) if name == "time_pps" else seconds))
        side_name, key = name.split(".", 1)
        side, model = self._side(side_name), self.radio.settings.model
        if key.endswith(".range"):
            ranges: dict[str, Range] = {
                "frequency.range": model.frequency,
                "rate.range": model.rate,
                "bandwidth.range": model.bandwidth,
                "gain.range": side.gains,
            }
            allowed = ranges[key]
            return f"{allowed.low!r} {allowed.high!r} {allowed.step!r}"
        values = {"frequency": side.frequency, "rate": side.rate, "bandwidth": side.bandwidth, "gain": side.gain}
        return repr(float(values[key]))

    def _set(self, name: str, text: str) -> str:
        if name.startswith("time_"):
            full, fraction = text.split()
            seconds = self.air.time * (1 + self.radio.settings.clock_ppm * 1e-6)
            if name == "time_pps":  # at the next whole second
                seconds = math.floor(seconds) + 1
            whole = math.floor(seconds)
            self.radio.time_offset = (int(full) - whole, float(fraction) - (seconds - whole))
            return ""
        side_name, key = name.split(".", 1)
        side, value = self._side(side_name), float(text)
        if key == "frequency":
            self._tune(side_name, value, self._shift[side_name])
            return repr(value)
        if key == "shift":
            self._tune(side_name, side.frequency - self._signed(side_name), value)
            return repr(value)
        if key == "gain":
            side.set_gain(value)
            return repr(side.gain)
        if key == "rate":
            side.set_rate(value)
            return repr(side.rate)
        if key == "bandwidth":
            side.set_bandwidth(value)
            return repr(side.bandwidth)
        raise KeyError(f"{key} is unknown")

    def _signed(self, side_name: str) -> float:
        """What the digital mixer adds to the oscillator's frequency: UHD turns received signals the other way."""
        return -self._shift[side_name] if side_name == "rx" else self._shift[side_name]

    def _tune(self, side_name: str, oscillator: float, shift: float) -> None:
        side = self._side(side_name)
        side.set_frequency(oscillator)  # refused or not
        self._shift[side_name] = shift
        side.frequency = oscillator + self._signed(side_name)

    def _device_time(self, device_seconds: float) -> tuple[int, float]:
        """What the radio's time registers say at a time of its clock."""
        whole = math.floor(device_seconds)
        fraction = device_seconds - whole + self.radio.time_offset[1]
        carried = math.floor(fraction)
        return whole + self.radio.time_offset[0] + carried, fraction - carried

    def _clock_seconds(self, full: int, fraction: float) -> float:
        """The other way round."""
        return (full - self.radio.time_offset[0]) + (fraction - self.radio.time_offset[1])

    # ------------------------------------------------------------------ received samples

    def _receive(self) -> None:
        threading.Thread(target=self._take_commands, name="stream commands", daemon=True).start()
        receiver = self.radio.receiver
        while True:
            with self.air.changed:
                self.air.changed.wait_for(lambda: self._gone or self.air.stopped or self._something_to_tell())
                if self._gone or self.air.stopped:
                    break
                stream, late = receiver.stream, self._late
                self._late = False
                block = stream.take(PACKET_SAMPLES) if stream is not None and not late else None
                last = stream is not None and stream.remaining == 0 and not stream.waiting
                if last:
                    receiver.stream = None
                rate = receiver.rate
                at = receiver.device_seconds(block.index if block is not None else receiver.index)
                full, fraction = self._device_time(at)
                self.air.changed.notify_all()
            flags = LATE_COMMAND if late else 0
            data = b""
            if block is not None:
                flags |= AFTER_LOSS * block.after_loss | LAST * last
                data = block.words.tobytes()
            self._connection.sendall(HEADER.pack(len(data) // 4, flags, full, fraction, rate) + data)

    _late = False
    _gone = False
    _own: ReceiveStream | None = None

    def _something_to_tell(self) -> bool:
        stream = self.radio.receiver.stream
        return self._late or (stream is not None and stream is self._own and stream.waiting > 0)

    def _take_commands(self) -> None:
        """Stream commands, until the client goes away."""
        receiver = self.radio.receiver
        try:
            while line := self._line():
                words = line.split()
                with self.air.changed:
                    if words[0] == "start":
                        self._start(int(words[1]), bool(int(words[2])), int(words[3]), float(words[4]))
                    elif receiver.stream is self._own:
                        receiver.stream = None
                    self.air.changed.notify_all()
        except (OSError, ValueError, IndexError):
            pass
        finally:
            with self.air.changed:
                self._gone = True
                if receiver.stream is self._own:
                    receiver.stream = None
                self.air.changed.notify_all()

    def _start(self, count: int, timed: bool, full: int, fraction: float) -> None:
        receiver = self.radio.receiver
        stream = ReceiveStream(self._capacity(receiver), 1, keep_all=self.air.streams)
        stream.remaining = count or None
        stream.start = receiver.index_at(self.air.time * (1 + self.radio.settings.clock_ppm * 1e-6)) + LATENCY_SAMPLES
        if timed:
            stream.start = receiver.index_at(self._clock_seconds(full, fraction))
            if stream.start < receiver.index:
                self._late = True
                return
        self._own = receiver.stream = stream

    def _capacity(self, side: Side) -> int:
        wanted = round(side.rate * BUFFER_S * self.radio.settings.buffers)
        return max(wanted, self.air.least(side.rate), 8 * PACKET_SAMPLES)

    # ------------------------------------------------------------------ samples to send

    def _transmit(self) -> None:
        transmitter = self.radio.transmitter
        stream = TransmitStream(self._capacity(transmitter), fill=self.air.fill(transmitter.rate))
        with self.air.changed:
            if transmitter.stream is not None:  # one that was left behind
                transmitter.stream = None
            transmitter.stream = stream
            self.air.changed.notify_all()
        threading.Thread(target=self._tell_events, args=(stream,), name="transmit events", daemon=True).start()
        when: tuple[int, float] | None = None
        try:
            while True:
                header = self._input.read(HEADER.size)
                if len(header) < HEADER.size:
                    break
                count, flags, full, fraction, _ = HEADER.unpack(header)
                if count > MAXIMUM_SAMPLES:
                    raise ConnectionError(f"a client sends a packet of {count} samples")
                data = self._input.read(4 * count)
                if len(data) < 4 * count:
                    break
                samples = self._from_words(data)
                if flags & HAS_TIME:
                    when = full, fraction
                if not count and not flags & END_OF_BURST:
                    continue  # gr-uhd announces its first burst with an empty packet
                with self.air.changed:
                    stream.capacity = self._capacity(transmitter)
                    self.air.changed.wait_for(lambda: self.air.stopped or stream.room >= count)  # noqa: B023
                    if self.air.stopped:
                        break
                    start = None if when is None else transmitter.index_at(self._clock_seconds(*when))
                    when = None
                    stream.put(samples, start, bool(flags & END_OF_BURST))
                    self.air.changed.notify_all()
        finally:
            with self.air.changed:
                stream.put(np.zeros(0, np.complex64), end=True)
                self.air.changed.notify_all()
                self.air.changed.wait_for(
                    lambda: self.air.stopped or not stream.waiting or transmitter.stream is not stream, DRAIN_S
                )
                if transmitter.stream is stream:
                    transmitter.stream = None
                self._gone = True
                self.air.changed.notify_all()

    def _from_words(self, data: bytes) -> np.ndarray[tuple[int], np.dtype[np.complex64]]:
        words = np.frombuffer(data, "<i2")
        bits = self.radio.settings.bits or self.radio.settings.model.bits
        samples = (words & -(1 << (16 - bits))).astype(np.float32)
        samples *= np.float32(2**-15)
        return samples.view(np.complex64)

    def _tell_events(self, stream: TransmitStream) -> None:
        transmitter = self.radio.transmitter
        try:
            while True:
                with self.air.changed:
                    self.air.changed.wait_for(lambda: self._gone or self.air.stopped or stream.events)
                    if not stream.events:
                        return
                    event = stream.events.popleft()
                    full, fraction = self._device_time(transmitter.device_seconds(event.index))
                self._connection.sendall(HEADER.pack(EVENTS[event.kind], 0, full, fraction, transmitter.rate))
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.EBADF):
                raise
