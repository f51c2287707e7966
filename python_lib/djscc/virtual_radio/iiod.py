# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol of IIOD, libiio's network server, as far as libiio 0.24 uses it: lines of text, and raw samples.

A command is a line; the answer a line with a number (a length, or a negative errno) and, where it says so, that many bytes. Each
open buffer has a connection of its own.
"""

from __future__ import annotations

import errno
import socket
from typing import BinaryIO

import numpy as np

from djscc.virtual_radio.pluto import ADC, DAC, Pluto, refuse
from djscc.virtual_radio.streams import ReceiveStream, TransmitStream

PORT = 30431
VERSION = "0.24.virtual"[:12]
MAXIMUM_VALUE = 1 << 16  # bytes of an attribute that a client may write
MAXIMUM_SAMPLES = 1 << 24  # of one buffer
SAMPLE_BYTES = 4  # I and Q of 16 bits


class Iiod:
    """One client's connection to one virtual Pluto."""

    def __init__(self, pluto: Pluto, connection: socket.socket) -> None:
        self.pluto, self.air = pluto, pluto.air
        self._connection = connection
        self._input: BinaryIO = connection.makefile("rb")
        self._receive: ReceiveStream | None = None
        self._transmit: TransmitStream | None = None
        self._buffers = {ADC: pluto.radio.settings.buffers, DAC: pluto.radio.settings.buffers}
        self._mask = "00000003"

    def serve(self) -> None:
        """Answer until the client goes away."""
        try:
            while line := self._input.readline(1024):
                words = line.decode("latin-1").split()
                if not words:
                    continue
                if words[0] == "EXIT":
                    break
                self._answer(words)
        finally:
            self._close()

    def _send(self, *parts: bytes) -> None:
        self._connection.sendall(b"".join(parts))

    def _value(self, value: int) -> None:
        self._send(b"%d\n" % value)

    def _answer(self, words: list[str]) -> None:
        command = words[0]
        if command == "WRITE":
            self._write(words)  # what follows the line is read even when it is refused
            return
        try:
            if command == "VERSION":
                self._send(VERSION.encode(), b"\n")
            elif command == "PRINT":
                text = self.pluto.xml().encode()
                self._send(b"%d\n" % len(text), text, b"\n")
            elif command == "TIMEOUT":
                self._value(0)
            elif command == "READ":
                device, place, attribute = self._place(words[1:])
                text = self.pluto.read(device, place, attribute).encode() + b"\0"
                self._send(b"%d\n" % len(text), text, b"\n")
            elif command == "OPEN":
                self._open(words)
                self._value(0)
            elif command == "CLOSE":
                self._close()
                self._value(0)
            elif command == "READBUF":
                self._read_buffer(int(words[2]))
            elif command == "WRITEBUF":
                self._write_buffer(int(words[2]))
            elif command == "SET":
                self._set_buffers(words)
                self._value(0)
            elif command in ("GETTRIG", "SETTRIG"):
                self._value(-errno.ENODEV)
            elif command == "ZPRINT":
                self._value(-errno.EINVAL)
            else:
                self._value(-errno.EINVAL)
        except (IndexError, ValueError):
            self._value(-errno.EINVAL)
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.errno in (errno.ECONNRESET, errno.EPIPE):
                raise
            self._value(-(error.errno or errno.EIO))

    def _place(self, words: list[str]) -> tuple[str, str, str]:
        """Device, place and attribute of READ and WRITE."""
        device = self.pluto.device(words[0])
        if words[1] in ("INPUT", "OUTPUT"):
            return device, f"{words[1]} {words[2]}", words[3]
        if words[1] in ("DEBUG", "BUFFER"):
            return device, words[1], words[2]
        return device, "", words[1]

    def _write(self, words: list[str]) -> None:
        length = int(words[-1])
        if not 0 <= length <= MAXIMUM_VALUE:
            raise ConnectionError(f"a client wants to write {length} bytes to an attribute")
        value = self._exactly(length).rstrip(b"\0").decode("latin-1")
        try:
            self.pluto.write(*self._place(words[1:-1]), value)
            self._value(length)
        except IndexError:
            self._value(-errno.EINVAL)
        except OSError as error:
            self._value(-(error.errno or errno.EIO))

    def _exactly(self, length: int) -> bytes:
        data = self._input.read(length)
        if len(data) < length:
            raise ConnectionResetError(errno.ECONNRESET, "the client went away within a value")
        return data

    def _set_buffers(self, words: list[str]) -> None:
        device, count = self.pluto.device(words[1]), int(words[3])
        if device not in self._buffers or words[2] != "BUFFERS_COUNT" or not 1 <= count <= 1024:
            raise refuse()
        self._buffers[device] = count

    def _open(self, words: list[str]) -> None:
        device, samples, mask = self.pluto.device(words[1]), int(words[2]), words[3]
        cyclic = len(words) > 4 and words[4] == "CYCLIC"
        if not 1 <= samples <= MAXIMUM_SAMPLES:
            raise refuse()
        if int(mask, 16) != 3:
            raise refuse()  # I and Q together or not at all
        self._mask = mask
        radio = self.pluto.radio
        with self.air.changed:
            if device == ADC:
                if radio.receiver.stream is not None:
                    raise refuse(errno.EBUSY)
                capacity = max(samples * self._buffers[ADC], self.air.least(radio.receiver.rate))
                self._receive = ReceiveStream(capacity, samples, keep_all=self.air.streams)
                radio.receiver.stream = self._receive
            elif device == DAC:
                if radio.transmitter.stream is not None:
                    raise refuse(errno.EBUSY)
                rate = radio.transmitter.rate
                capacity = max(samples * self._buffers[DAC], self.air.least(rate))
                self._transmit = TransmitStream(capacity, cyclic, self.air.fill(rate))
                radio.transmitter.stream = self._transmit
            else:
                raise refuse(errno.ENODEV)
            self.air.changed.notify_all()

    def _close(self) -> None:
        radio = self.pluto.radio
        with self.air.changed:
            if self._receive is not None and radio.receiver.stream is self._receive:
                radio.receiver.stream = None
            if self._transmit is not None and radio.transmitter.stream is self._transmit:
                radio.transmitter.stream = None
            self._receive = self._transmit = None
            self.air.changed.notify_all()

    def _read_buffer(self, length: int) -> None:
        stream = self._receive
        if stream is None:
            raise refuse(errno.EBADF)
        samples = min(length // SAMPLE_BYTES, stream.capacity)
        with self.air.changed:
            self.air.changed.wait_for(lambda: self.air.stopped or stream.waiting >= samples)
            if stream.waiting < samples:
                raise refuse(errno.ETIMEDOUT)
            data = stream.read(samples)
            self.air.changed.notify_all()
        self._send(b"%d\n%s\n" % (len(data), self._mask.encode()), data)

    def _write_buffer(self, length: int) -> None:
        stream = self._transmit
        if stream is None:
            raise refuse(errno.EBADF)
        if not 0 < length <= MAXIMUM_SAMPLES * SAMPLE_BYTES:
            raise refuse()
        self._value(length)
        words = np.frombuffer(self._exactly(length), "<i2")
        kept = (words & -16) if self.pluto.radio.settings.bits in (None, 12) else words  # the converter's upper bits
        samples = kept.astype(np.float32)
        samples *= np.float32(2**-15)
        with self.air.changed:
            self.air.changed.wait_for(
                lambda: self.air.stopped or stream.room >= len(samples) // 2 or not stream.waiting
            )
            stream.put(samples.view(np.complex64))
            self.air.changed.notify_all()
        self._value(length)
