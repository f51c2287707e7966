# SPDX-License-Identifier: GPL-3.0-or-later
"""The radios of an air, answering at their addresses on loopback: Plutos as IIOD does, USRPs to the UHD module of gr-djscc."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable
from typing import Protocol

from djscc.virtual_radio import iiod, usrp
from djscc.virtual_radio.air import Air
from djscc.virtual_radio.pluto import Pluto
from djscc.virtual_radio.radio import Radio
from djscc.virtual_radio.settings import AirSettings, VirtualRadioError

MAXIMUM_CLIENTS = 64
SEND_BUFFER = {  # bytes that the operating system may hold between radio and client
    "pluto": 1 << 22,  # a buffer that was asked for, whole
    "usrp": 1 << 18,  # samples come unasked: more would hide that the client is late
}


class Session(Protocol):
    """One client's connection."""

    def serve(self) -> None:
        """Answer until the client goes away."""


class RadioServer:
    """An air and its radios, from ``start`` to ``stop``; usable in a ``with`` statement."""

    def __init__(self, settings: AirSettings) -> None:
        self.air = Air(settings)
        self._listeners: list[socket.socket] = []
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def __enter__(self) -> RadioServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen at every radio's address, and let time pass. VirtualRadioError when an address is taken."""
        self._stopping = False
        try:
            for radio in self.air.radios:
                self._listen(radio, *self._front(radio))
        except OSError:
            self.stop()
            raise
        self.air.start()

    def _front(self, radio: Radio) -> tuple[int, Callable[[socket.socket], Session]]:
        if radio.settings.kind == "pluto":
            pluto = Pluto(self.air, radio)
            return iiod.PORT, lambda connection: iiod.Iiod(pluto, connection)
        return usrp.PORT, lambda connection: usrp.UsrpSession(self.air, radio, connection)

    def _listen(self, radio: Radio, port: int, session: Callable[[socket.socket], Session]) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((radio.address, port))
        except OSError as error:
            listener.close()
            self.stop()
            busy = "another virtual radio may be running there; stop it, or " * (error.errno == errno.EADDRINUSE)
            raise VirtualRadioError(
                f"{radio.address}:{port} cannot be used ({error.strerror}): {busy}give this one another address such as "
                "127.0.1.1"
            ) from error
        listener.listen(16)
        self._listeners.append(listener)
        threading.Thread(
            target=self._accept,
            args=(listener, session, SEND_BUFFER[radio.settings.kind]),
            name=f"radio {radio.address}",
            daemon=True,
        ).start()

    def _accept(self, listener: socket.socket, session: Callable[[socket.socket], Session], send_buffer: int) -> None:
        while not self._stopping:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                if self._stopping or len(self._clients) >= MAXIMUM_CLIENTS:
                    connection.close()
                    continue
                self._clients.add(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            threading.Thread(target=self._serve, args=(connection, session), name="radio client", daemon=True).start()

    def _serve(self, connection: socket.socket, session: Callable[[socket.socket], Session]) -> None:
        try:
            with contextlib.suppress(OSError, ValueError):  # a client that is gone, or talks nonsense, is let go
                session(connection).serve()
        finally:
            with self._lock:
                self._clients.discard(connection)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def stop(self) -> None:
        """Let go of the clients and stop time."""
        self._stopping = True
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._listeners.clear()
        self.air.stop()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """Raise what ended the air, if anything did."""
        if self.air.error is not None:
            raise VirtualRadioError(f"the air ended: {self.air.error}") from self.air.error
