# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor's page on loopback, and the thread that feeds it."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from djscc import DATA
from djscc.errors import DjsccError
from djscc.links import LinkError, MetricsSubscriber
from djscc.monitor.state import MonitorState

FILES = {
    "/": ("monitor/index.html", "text/html"),
    "/monitor.js": ("monitor/monitor.js", "text/javascript"),
    "/monitor.css": ("monitor/monitor.css", "text/css"),
    "/style.css": ("report/style.css", "text/css"),
}
PICTURE = re.compile(r"/(picture|map)/([0-9a-f]{8})\.png\Z")
FRESH_S = 0.2  # a state is made at most so often, however many pages ask
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'"
)


class MonitorServer:
    """Serves the page of a state at ``http://127.0.0.1:PORT``; port 0 takes a free one. ``with`` closes it.

    Only loopback, only requests that name it (no other site's page can read it through a changed name server), and only reads.
    """

    def __init__(self, state: MonitorState, port: int = 8501) -> None:
        self.state = state
        self._made_at, self._made = -1e9, b""
        self._lock = threading.Lock()
        try:
            self._server = _Server(("127.0.0.1", port), self)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "ports go to 65535"
            raise LinkError(f"port {port} on 127.0.0.1 cannot be opened ({reason}); give another --port") from error
        self.port: int = self._server.server_address[1]
        self._threads = [threading.Thread(target=self._server.serve_forever, name="monitor page", daemon=True)]
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self, subscriber: MetricsSubscriber | None = None) -> None:
        """Serve, and feed the state from ``subscriber`` (which is closed at the end)."""
        if subscriber is not None:
            self._threads.append(
                threading.Thread(target=self._feed, args=(subscriber,), name="monitor feed", daemon=True)
            )
        for thread in self._threads:
            thread.start()

    def _feed(self, subscriber: MetricsSubscriber) -> None:
        while not self._stopping.is_set():
            try:
                self.state.connected = subscriber.connected
                received = subscriber.receive(0.3)
                if received is not None:
                    self.state.accept(received)
                self.state.damaged(subscriber.damaged)
                self.state.problem = ""
            except Exception as error:  # such as wrong keys: the page says it, and it may be mended at the other end
                self.state.problem = str(error) if isinstance(error, DjsccError) else f"{type(error).__name__}: {error}"
                self._stopping.wait(1.0)
        subscriber.close()

    def json(self) -> bytes:
        """The state, at most ``FRESH_S`` old."""
        with self._lock:
            if time.monotonic() - self._made_at > FRESH_S:
                self._made = json.dumps(self.state.snapshot(), separators=(",", ":"), allow_nan=False).encode()
                self._made_at = time.monotonic()
            return self._made

    def close(self) -> None:
        """Stop serving."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads[1:]:
            thread.join(3)

    def __enter__(self) -> MonitorServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], monitor: MonitorServer) -> None:
        self.monitor = monitor
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "djscc"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        monitor = self.server.monitor
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        path = self.path.partition("?")[0]
        if name not in ("127.0.0.1", "localhost"):
            self._answer(b"this page is served to this machine only\n", "text/plain", HTTPStatus.FORBIDDEN)
        elif path in FILES:
            file, kind = FILES[path]
            self._answer((DATA / file).read_bytes(), f"{kind}; charset=utf-8")
        elif path == "/state.json":
            self._answer(monitor.json(), "application/json")
        elif (match := PICTURE.match(path)) and (png := monitor.state.png(int(match[2], 16), match[1])) is not None:
            self._answer(png, "image/png")
        else:
            self._answer(b"there is no such page\n", "text/plain", HTTPStatus.NOT_FOUND)

    def _answer(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        for key, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not logged."""
