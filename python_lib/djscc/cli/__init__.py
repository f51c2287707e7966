# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``djscc``. Exit codes: 0 done, 1 failed (a message says why and what to do), 2 wrong use."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from djscc import __version__
from djscc.errors import DjsccError

__all__ = ["main"]

STATIONS = (
    "link",
    "runs",
    "radio",
    "calibrate",
    "links",
    "monitor",
    "acm",
    "imagery",
    "train",
    "virtual_radio",
    "doctor",
)


def parser(stations: Sequence[str] = STATIONS) -> argparse.ArgumentParser:
    """The whole command line; each station of the way adds its own commands."""
    top = argparse.ArgumentParser(
        prog="djscc",
        description="Send Earth-observation imagery by deep joint source-channel coding, and learn what arrives is worth.",
        epilog="Every command has --help with an example that runs. `djscc doctor` tells what is installed and what is missing.",
    )
    top.add_argument("--version", action="version", version=f"djscc {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in stations:
        importlib.import_module(f"djscc.cli.{name}").add_commands(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the entry point of the script ``djscc``."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        top = parser()
    except ImportError as error:
        if argv[:1] != ["doctor"]:
            print(f"djscc: error: {error}; `djscc doctor` tells what is missing, and the remedy", file=sys.stderr)
            return 1
        top = parser(["doctor"])
    arguments = top.parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except BrokenPipeError:  # whoever read the output, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except DjsccError as error:
        print(f"djscc {arguments.command}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"djscc {arguments.command}: stopped; what was logged is kept", file=sys.stderr)
        return 1
