# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc monitor``: a page in the browser that shows what a receiver receives."""

from __future__ import annotations

import argparse
import contextlib
import logging
import threading
import webbrowser
from typing import Any

from djscc.cli import options


def add_commands(commands: Any) -> None:
    monitor = options.command(
        commands,
        "monitor",
        run_monitor,
        "show in the browser what a receiver receives, as it comes",
        """\
        Subscribes to what `djscc receive --publish` or a Decoder Sink publishes, here or on another machine, and serves a page
        on this machine alone. It may be started before the receiver, and outlasts its restarts.""",
        "djscc monitor --connect tcp://127.0.0.1:5557 --port 8501 --seconds 5",
    )
    monitor.add_argument(
        "--connect",
        default="tcp://127.0.0.1:5557",
        metavar="ADDRESS",
        help="where the receiver publishes (default: tcp://127.0.0.1:5557)",
    )
    monitor.add_argument("--port", type=options.count, default=8501, help="of the page on 127.0.0.1 (default: 8501)")
    monitor.add_argument("--open", action="store_true", help="open the page in the browser")
    monitor.add_argument("--seconds", type=options.number, metavar="S", help="end after S seconds")
    options.add_security(monitor)


def run_monitor(arguments: argparse.Namespace) -> int:
    from djscc.links import MetricsSubscriber
    from djscc.monitor import MonitorServer, MonitorState

    logging.basicConfig(format="%(message)s")
    subscriber = MetricsSubscriber(arguments.connect, options.security(arguments))
    with MonitorServer(MonitorState(arguments.connect), arguments.port) as server:
        server.start(subscriber)
        print(f"{server.url} shows the receiver at {arguments.connect}; Ctrl-C ends it", flush=True)
        if arguments.open:
            webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it
            threading.Event().wait(arguments.seconds)
    return 0
