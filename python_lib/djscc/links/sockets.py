# SPDX-License-Identifier: GPL-3.0-or-later
"""ZeroMQ sockets with the rules of this project: loopback by default, CURVE keys beyond it, and no silent waiting.

A socket whose address leaves this machine needs keys (``Security.keys``), or the explicit word that it goes without
(``Security.insecure``), which is said loudly. The end that binds is the CURVE server and lets in the public keys in its folder's
``peers``; the end that connects knows the server by its key. Where the handshake fails again and again, the connecting end
raises LinkError, and the binding end, which no stranger shall be able to stop, warns. An end with keys that connects on this
machine also tries without them, since a command may have one link beyond it and another within.
"""

from __future__ import annotations

import atexit
import ipaddress
import logging
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
import zmq.auth.thread
import zmq.utils.monitor

from djscc.errors import DjsccError
from djscc.links.keys import Keys, load_keys

logger = logging.getLogger(__name__)

PATIENCE_S = 3.0  # handshakes may fail for so long before it is said
FAILURES = 3  # connections lost within their handshake before it is said: one may be a server's end, or a tunnel's
FORGET_S = 10.0  # such a one that none follows within so long does not count
POLL_MS = 200
LINGER_MS = 5000  # what was sent before close() has so long to leave
HANDSHAKE_MS = 5000  # a peer that says nothing is no peer
HEARTBEAT_MS = (2000, 10000)  # between heartbeats, and until a silent peer counts as gone (PUB and SUB)
# TCP's own, of PUSH and PULL: when idle, and between probes; with data under way, TCP tries for minutes
KEEPALIVE_S = (10, 2)

_FAILED = {
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL,
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL,
    zmq.Event.HANDSHAKE_FAILED_AUTH,
}
_WATCHED = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED | zmq.Event.CONNECTED | zmq.Event.ACCEPTED
for _event in _FAILED:
    _WATCHED |= _event


_open: weakref.WeakSet[Link] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """At the end of the process: a context that still has sockets would wait for ever."""
    for link in list(_open):
        link.close(linger_ms=500)


class LinkError(DjsccError):
    """A link that cannot be used; the message names its address and the remedy."""


@dataclass(frozen=True)
class Security:
    """How a link is protected: a folder of ``keys``, or ``insecure`` to leave this machine without."""

    keys: str | Path | None = None
    insecure: bool = False


@dataclass(frozen=True)
class Address:
    """Where a link goes: ``endpoint`` in ZeroMQ's words, and whether this end binds it."""

    endpoint: str
    bind: bool

    @property
    def host(self) -> str:
        """Host part of a TCP endpoint; empty for others."""
        kind, _, rest = self.endpoint.partition("://")
        return rest.rpartition(":")[0].strip("[]") if kind == "tcp" else ""

    @property
    def local(self) -> bool:
        """Whether nothing beyond this machine can reach it."""
        if self.endpoint.startswith(("ipc://", "inproc://")):
            return True
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name, an interface, or *
            return False


def parse_address(text: str, bind: bool) -> Address:
    """Read ``tcp://HOST:PORT`` or ``ipc://FILE``; ``bind:`` or ``connect:`` before it says which end binds, else ``bind`` does."""
    endpoint = text
    for word, role in (("bind:", True), ("connect:", False)):
        if text.startswith(word):
            endpoint, bind = text.removeprefix(word), role
    kind, _, rest = endpoint.partition("://")
    port = rest.rpartition(":")[2]
    good = (kind == "tcp" and rest.rpartition(":")[0] and (port.isdigit() or (bind and port == "*"))) or (
        kind == "ipc" and rest
    )
    if not good:
        raise LinkError(f"address {text!r}: write tcp://HOST:PORT, such as tcp://127.0.0.1:5557, or ipc://FILE")
    address = Address(endpoint, bind)
    if not bind and address.host in ("*", "0.0.0.0", "::"):
        raise LinkError(f"address {text!r}: this end connects, so name the other end's host instead of {address.host}")
    return address


class Link:
    """One socket with its keys and its watch over handshakes. ``with`` closes it.

    Args:
        kind: zmq.PUSH, zmq.PULL, zmq.PUB or zmq.SUB.
        address: as :func:`parse_address` reads it.
        bind: whether this end binds, where the address does not say.
        security: keys, or the word that there are none.
        high_water: messages that wait at this end at most.
    """

    def __init__(
        self, kind: int, address: str, bind: bool, security: Security | None = None, high_water: int = 1000
    ) -> None:
        self.where = parse_address(address, bind)
        security = security or Security()
        keys = _keys_for(self.where, security)
        self._sockets: dict[int, bool] = {}  # of the system, as they came; whether their handshake succeeded
        self.failures = 0  # handshakes that failed
        self._failed_at: list[float] = []  # handshakes since the last that succeeded
        self._refused = False  # by one of these: ZeroMQ does not try again
        self._warned_at = -1e9
        self._context = zmq.Context()
        self._authenticator: zmq.auth.thread.ThreadAuthenticator | None = None
        self._kind, self._high_water = kind, high_water
        self._socket: zmq.Socket[bytes] = self._context.socket(kind)
        self._monitor: zmq.Socket[bytes] | None = None
        self._keys = self._given = keys  # in use, and given
        _open.add(self)
        try:
            self._set_up(kind, keys, high_water)
        except (zmq.ZMQError, DjsccError) as error:
            self.close(linger_ms=0)
            if isinstance(error, DjsccError):
                raise
            verb = "bound" if self.where.bind else "connected to"
            raise LinkError(
                f"{self.where.endpoint} cannot be {verb} ({error}); is it in use? Then choose another address"
            ) from error

    def _set_up(self, kind: int, keys: Keys | None, high_water: int) -> None:
        socket = self._socket
        for option, value in (
            (zmq.LINGER, LINGER_MS),
            (zmq.SNDHWM, high_water),
            (zmq.RCVHWM, high_water),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.RECONNECT_IVL, 100),
            (zmq.RECONNECT_IVL_MAX, 1000),
            (zmq.IPV6, int(":" in self.where.host)),
        ):
            socket.setsockopt(option, value)
        if kind in (zmq.PUSH, zmq.PULL):
            # a PULL that is behind leaves its socket unread, heartbeats in it too: they would end a connection with all it holds
            socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
            socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_S[0])
            socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_S[1])
        else:
            socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS[0])
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_MS[1])
        if kind == zmq.PUSH:
            socket.setsockopt(zmq.IMMEDIATE, 1)  # what is sent goes to an end that is there
        if kind == zmq.SUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        if keys is not None:
            self._protect(keys)
        self._monitor = socket.get_monitor_socket(_WATCHED)
        if self.where.bind:
            socket.bind(self.where.endpoint)
        else:
            socket.connect(self.where.endpoint)

    def _protect(self, keys: Keys) -> None:
        socket = self._socket
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        if not self.where.bind:
            socket.curve_serverkey = keys.server(self.where.host)
            return
        self._authenticator = zmq.auth.thread.ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="djscc", location=keys.folder / "peers")
        socket.curve_server = True
        socket.setsockopt_string(zmq.ZAP_DOMAIN, "djscc")

    @property
    def endpoint(self) -> str:
        """The endpoint, its port filled in where the address left it open."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT) if self.where.bind else self.where.endpoint

    def send(self, parts: Sequence[bytes | memoryview], timeout_s: float | None = None) -> bool:
        """Send a message; False when no other end took it within ``timeout_s`` (None waits as long as it takes).

        Publishers never wait. Raises LinkError when the handshake keeps failing.
        """
        if self._socket.type == zmq.PUB:
            self.check()
            self._socket.send_multipart(parts)
            return True
        if not self._ready(zmq.POLLOUT, timeout_s):
            return False
        self._socket.send_multipart(parts)
        return True

    def receive(self, timeout_s: float | None = None) -> list[bytes] | None:
        """The next message; None when none came within ``timeout_s``. Raises LinkError when the handshake keeps failing."""
        return self._socket.recv_multipart() if self._ready(zmq.POLLIN, timeout_s) else None

    def _ready(self, event: int, timeout_s: float | None) -> bool:
        end = None if timeout_s is None else time.monotonic() + timeout_s
        if self._socket.poll(0, event):
            return True
        while True:
            self.check()
            left = POLL_MS if end is None else min(POLL_MS, max(0, round(1000 * (end - time.monotonic()))))
            if self._socket.poll(left, event):
                return True
            if end is not None and time.monotonic() >= end:
                return False

    def check(self) -> None:
        """Look at what became of handshakes; raises LinkError (an end that connects) or warns where they keep failing."""
        assert self._monitor is not None
        before = self.failures
        while self._monitor.poll(0):
            event = zmq.utils.monitor.parse_monitor_message(self._monitor.recv_multipart())
            self._note(event["event"], event["value"])
        if self.failures > before and self.where.local and not self.where.bind and self._given is not None:
            self._turn()
        now = time.monotonic()
        if self._failed_at and not self._refused and now - self._failed_at[-1] > FORGET_S:
            self._failed_at.clear()
        if len(self._failed_at) < (1 if self._refused else FAILURES) or now - self._failed_at[0] < PATIENCE_S:
            return
        if not self.where.bind:
            raise LinkError(f"{self.where.endpoint}: {self._reason()}")
        if now - self._warned_at > 60:
            self._warned_at = now
            logger.warning("%s: %s", self.where.endpoint, self._reason())
        self._forget()

    def _turn(self) -> None:
        """Begin again, with the keys where it was without and the other way round."""
        assert self._monitor is not None
        self._keys = None if self._keys is not None else self._given
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
        self._sockets.clear()
        self._socket = self._context.socket(self._kind)
        self._set_up(self._kind, self._keys, self._high_water)

    @property
    def peers(self) -> int:
        """Ends that are connected now."""
        return sum(self._sockets.values())

    def _note(self, event: Any, value: int) -> None:
        if event in (zmq.Event.ACCEPTED, zmq.Event.CONNECTED):
            self._sockets[value] = False
        elif event == zmq.Event.HANDSHAKE_SUCCEEDED:  # it does not say whose: it takes milliseconds, so the last one's
            last = next((number for number in reversed(self._sockets) if not self._sockets[number]), None)
            if last is not None:
                self._sockets[last] = True
            self._forget()
        elif event == zmq.Event.DISCONNECTED:
            self._sockets.pop(value, None)
        elif event in _FAILED:
            self.failures += 1
            self._failed_at.append(time.monotonic())
            self._refused |= event != zmq.Event.HANDSHAKE_FAILED_NO_DETAIL

    def _forget(self) -> None:
        self._failed_at.clear()
        self._refused = False

    def _reason(self) -> str:
        if self._given is None:
            return (
                f"the other end answers, but not as a link without keys ({self.failures} handshakes failed): "
                "give --keys FOLDER as it was given there; or is it another program, or a tunnel whose far end is not up?"
            )
        mine = "the other end's own.key must lie in this end's peers folder, and this end's own.key in the other's"
        if self.where.bind:
            return f"somebody tries to connect with wrong keys or none ({self.failures} times): {mine}"
        return f"the other end refuses these keys, or is not the one whose key is here ({self.failures} handshakes failed): {mine}"

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close the socket; what was sent has ``linger_ms`` to leave."""
        _open.discard(self)
        if self._context.closed:
            return
        if self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(0)
        self._socket.close(linger_ms)
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _keys_for(where: Address, security: Security) -> Keys | None:
    """The keys that a link takes; raises LinkError for one that would leave this machine unprotected unasked."""
    if security.keys is not None:
        return load_keys(security.keys)
    if where.local:
        return None
    if not security.insecure:
        raise LinkError(
            f"{where.endpoint} leaves this machine: give --keys FOLDER (made by `djscc keys FOLDER`), or --insecure to let "
            "anybody on the network read and forge what passes; tcp://127.0.0.1:PORT stays on this machine"
        )
    logger.warning(
        "WARNING: %s is open to the network WITHOUT KEYS (--insecure): anybody there can read and forge what passes",
        where.endpoint,
    )
    return None
