# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several commands share, each said once."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from djscc import DATA
from djscc.errors import DjsccError

if TYPE_CHECKING:
    from djscc.links import Security


NEGATIVE = re.compile(r"-\.?\d[-+\d.,eE]*\Z")  # values of options that begin with a minus


class MissingFileError(DjsccError):
    """A file that is not there."""


class OutputError(DjsccError):
    """A result file that cannot be written."""


def command(
    commands: Any, name: str, run: Any, help: str, description: str = "", example: str = ""
) -> argparse.ArgumentParser:
    """Add one command with its help and a runnable example."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=textwrap.dedent(description) or help,
        epilog=f"example:\n  {example}" if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser._negative_number_matcher = NEGATIVE  # argparse's own takes -2e5 and -5,5 for options
    return parser


def shipped(kind: str) -> str:
    """Names of the YAML files of one kind that the library ships."""
    return ", ".join(sorted(path.stem for path in (DATA / kind).glob("*.yaml")))


def named_file(kind: str, name: str) -> Path:
    """The file that ``name`` stands for: a shipped one of this kind, or a path; MissingFileError when there is neither."""
    path = DATA / kind / f"{name}.yaml"
    if "/" not in name and path.is_file():
        return path
    if not Path(name).is_file():
        raise MissingFileError(f"{name}: no such file, and none of that name is shipped (shipped are {shipped(kind)})")
    return Path(name)


def decibels(text: str) -> float:
    """A finite number of dB."""
    return _number(text, "dB")


def number(text: str) -> float:
    """A finite number."""
    return _number(text, "a unit as the help says")


def _number(text: str, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        _refuse(f"{text!r} is no number (in {unit})")
    if not math.isfinite(value):
        _refuse(f"{text!r} is not finite (in {unit})")
    return value


def count(text: str) -> int:
    """A whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        _refuse(f"{text!r} is no whole number")
    if value < 1:
        _refuse(f"{text!r} must be at least 1")
    return value


def seed(text: str) -> int:
    """A seed: a whole number from 0 to 2^63 - 1."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 63:
        _refuse(f"{text!r} is no whole number from 0 to 2^63 - 1")
    return value


def ratio(text: str) -> float:
    """A ratio like 1/12."""
    from djscc.campaign.plan import PlanError, parse_ratio

    try:
        return parse_ratio(text)
    except PlanError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _refuse(message: str) -> NoReturn:
    raise argparse.ArgumentTypeError(message)


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        default="landsat",
        metavar="DIR",
        help="folder (or .zip) of tiles of one size, one folder a class, as EuroSAT comes; default: the shipped Landsat tiles",
    )
    parser.add_argument("--limit", type=count, metavar="N", help="take N tiles, spread evenly over the folder")


def add_back_off(parser: argparse.ArgumentParser, text: str) -> None:
    """``--back-off``: the waveform's back-off in dB."""
    parser.add_argument("--back-off", type=decibels, default=9.0, metavar="DB", help=f"{text} (default: 9)")


def add_codec(parser: argparse.ArgumentParser, decoder: bool = True) -> None:
    parser.add_argument(
        "--codec", default="adaptive", metavar="NAME", help="name or folder of a codec (default: adaptive)"
    )
    if not decoder:
        return
    parser.add_argument(
        "--decoder", metavar="NAME", help="which of the codec's decoders (default: its first, the strongest)"
    )


def add_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task",
        dest="tasks",
        action="append",
        default=[],
        metavar="NAME",
        help="judge the received tiles by this task too, a shipped one or a folder (may be given several times)",
    )


def add_by_content(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by-content",
        nargs="?",
        const="mse",
        default=False,
        choices=("mse", "psnr"),
        help="give busy tiles more symbols than flat ones, for the least squared error (mse, when nothing is said) or for the "
        "best mean of the tiles' PSNRs (psnr)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as JSON")


def add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=seed, default=1, help="seed of every random draw (default: 1)")


def add_security(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keys",
        metavar="DIR",
        help="folder of CURVE keys for ZeroMQ links (made by `djscc keys`); needed beyond loopback",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="let ZeroMQ links leave this machine without keys, readable and forgeable",
    )


def security(arguments: argparse.Namespace) -> Security:
    """What --keys and --insecure say."""
    from djscc.links import Security

    return Security(arguments.keys, arguments.insecure)


def say(text: str) -> None:
    """A line for the user on standard error, where standard output carries samples."""
    print(text, file=sys.stderr)


def write_json(path: Path | None, result: Any) -> None:
    """Write a result file whole or not at all; lists of numbers in one line each."""
    if path is None:
        return
    try:
        text = json.dumps(result, indent=1, allow_nan=False)
    except ValueError as error:  # of a value that JSON does not know
        raise OutputError(f"--json {path}: not written, a result is no finite number ({error})") from error
    text = re.sub(r"\[(?:[-+\d.eE,\s]|null)*\]", lambda found: " ".join(found[0].split()), text)
    try:
        temporary = path.with_name(path.name + ".tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text + "\n")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"--json {path}: cannot be written ({error.strerror}); choose another file") from error
    except ValueError as error:
        raise OutputError(f"--json {path}: names no file; choose one") from error
