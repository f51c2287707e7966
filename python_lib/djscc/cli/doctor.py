# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc doctor``: what is installed, what was found, what is missing, and the remedy."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from djscc import DATA, __version__
from djscc.cli import options
from djscc.errors import DjsccError

APT = "apt-get install gnuradio"


def add_commands(commands: Any) -> None:
    doctor = options.command(
        commands, "doctor", run_doctor, "say what is installed, what is missing, and the remedy", example="djscc doctor"
    )
    options.add_json(doctor)


def _module(name: str, remedy: str) -> tuple[bool, str]:
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a broken installation raises anything
        return False, f"{error}; {remedy}"
    return True, str(getattr(module, "__version__", getattr(module, "__file__", "") or "found"))


def _numpy() -> tuple[bool, str]:
    import numpy

    good = numpy.__version__.startswith("1.")
    return good, numpy.__version__ + ("" if good else ": GNU Radio 3.10 needs numpy below 2; pip install 'numpy<2'")


def _gnuradio() -> tuple[bool, str]:
    found, text = _module("gnuradio.gr", APT)
    if found:
        gr = importlib.import_module("gnuradio.gr")
        text = gr.version()
        if not text.startswith(("3.10", "v3.10")):
            return False, f"{text}: the blocks are made for 3.10"
    return found, text


def _codecs() -> tuple[bool, str]:
    from djscc.codec import available_codecs, load_codec

    good, parts = True, []
    for name in available_codecs():
        try:
            parts.append(f"{name} ({load_codec(name).id:08x})")
        except DjsccError as error:
            good = False
            parts.append(str(error))
    return good and bool(parts), "; ".join(parts) or "none: reinstall the library, or train one with `djscc train`"


def _tasks() -> tuple[bool, str]:
    from djscc.tasks import available_tasks, load_task

    good, parts = True, []
    for name in available_tasks():
        try:
            parts.append(f"{name} ({load_task(name).id})")
        except DjsccError as error:
            good = False
            parts.append(str(error))
    return good and bool(parts), "; ".join(parts) or "none: reinstall the library, or train one with `djscc train-task`"


def _timm() -> tuple[bool, str]:
    with contextlib.suppress(Exception):  # what is wrong, the import of timm says
        importlib.import_module("djscc.tasks.torchvision_operators")
    return _module("timm", "pip install 'djscc[tasks]'")


def _blocks() -> tuple[bool, str]:
    folder = f"{sys.prefix}/share/gnuradio/grc/blocks"
    paths = [*filter(None, os.environ.get("GRC_BLOCKS_PATH", "").split(":")), folder]
    for path in paths:
        if Path(path, "djscc_encoder_source.block.yml").is_file():
            return True, path
    return False, f"not below {' or '.join(paths)}; set GRC_BLOCKS_PATH to <prefix>/share/gnuradio/grc/blocks"


def _virtual_usrp() -> tuple[bool, str]:
    from djscc.virtual_radio.usrp import module_folder

    folder = module_folder()
    return folder is not None, str(folder or "install libuhd-dev, then build and install gr-djscc again")


def checks() -> list[tuple[str, bool, Callable[[], tuple[bool, str]]]]:
    """Name, whether the main job needs it, and the check."""
    pip = "pip install djscc in this environment"
    return [
        ("python", True, lambda: (sys.version_info >= (3, 11), platform.python_version())),
        ("djscc", True, lambda: (True, f"{__version__} in {DATA.parent}")),
        ("numpy", True, _numpy),
        ("torch", True, lambda: _module("torch", pip)),
        ("scipy", True, lambda: _module("scipy", pip)),
        ("zmq", True, lambda: _module("zmq", pip)),
        *((name, True, lambda name=name: _module(name, pip)) for name in ("safetensors", "matplotlib", "tqdm")),
        ("PyYAML", True, lambda: _module("yaml", pip)),
        ("Pillow", True, lambda: _module("PIL", pip)),
        ("codecs", True, _codecs),
        ("GNU Radio", True, _gnuradio),
        (
            "gnuradio.djscc",
            True,
            lambda: _module("gnuradio.djscc", "build and install the module: `make` in the source tree"),
        ),
        ("blocks in GRC", False, _blocks),
        ("gnuradio-companion", False, lambda: _program("gnuradio-companion", "apt-get install gnuradio")),
        ("QT displays", False, lambda: _module("PyQt5.Qt", "apt-get install python3-pyqt5")),
        ("USRP (gr-uhd)", False, lambda: _module("gnuradio.uhd", APT)),
        ("virtual USRP (UHD)", False, _virtual_usrp),
        ("Pluto (gr-iio)", False, lambda: _module("gnuradio.iio", APT)),
        ("Pluto (libiio)", False, lambda: _module("iio", "apt-get install python3-libiio")),
        ("SoapySDR (gr-soapy)", False, lambda: _module("gnuradio.soapy", APT)),
        ("recordings (sigmf)", True, lambda: _module("sigmf", pip)),
        ("tasks", False, _tasks),
        ("classifiers (timm)", False, _timm),
        ("orbits (sgp4)", False, lambda: _module("sgp4", "pip install 'djscc[orbit]'")),
        ("GeoTIFF (rasterio)", False, lambda: _module("rasterio", "pip install 'djscc[geo]'")),
        ("clusters (Dask)", False, lambda: _module("distributed", "pip install 'djscc[cluster]'")),
        ("attenuation (itur)", False, lambda: _module("itur", "pip install 'djscc[orbit]'")),
    ]


def _program(name: str, remedy: str) -> tuple[bool, str]:
    path = shutil.which(name)
    return path is not None, path or f"not on the PATH; {remedy}"


def run_doctor(arguments: argparse.Namespace) -> int:
    result, failed = {}, False
    for name, needed, check in checks():
        try:
            good, text = check()
        except ImportError as error:  # of what another line names
            good, text = False, str(error)
        failed |= needed and not good
        result[name] = {"ok": good, "needed": needed, "detail": text}
        print(f"{'ok     ' if good else 'MISSING' if needed else 'absent '} {name:<20} {text}")
    print("something that the main job needs is missing" if failed else "all that the main job needs is there")
    options.write_json(arguments.json, result)
    return int(failed)
