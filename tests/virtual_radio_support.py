# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the virtual radios share: addresses of their own, flowgraphs in processes of their own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from djscc.waveform import FrameHeader, Modulator, Receiver, WaveformSettings
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
_numbers = itertools.count(1)


def address() -> str:
    """A loopback address that no other test uses, in this process or one beside it."""
    return f"127.{os.getpid() // 250 % 200 + 20}.{os.getpid() % 250 + 1}.{next(_numbers)}"


def flowgraph(program: str, *arguments: Any, limit_s: float = 60, **environment: str) -> subprocess.Popen[str]:
    """Start a program with GNU Radio in a process of its own; ``finished`` waits for it. ``limit_s`` bounds it from inside."""
    head = (
        f"import signal, sys, time; signal.alarm({int(limit_s)})\n"
        "import numpy as np\nfrom gnuradio import analog, blocks, gr\n"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", head + program, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


UNTIL_TOLD = """
began = time.monotonic()
top.start(); sys.stdin.read()
time.sleep(max(0, 1.5 - (time.monotonic() - began)))  # gr-iio's source, run for less than a second, never ends
top.stop(); top.wait()
"""


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Close a program's standard input; what it printed to standard output and error; fails when it did not exit with 0."""
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, f"exit {process.returncode}\n{out}\n{err}"
    return out, err


def burst(
    settings: WaveformSettings, frames: int = 2, seed: int = 1
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Samples of some frames with random payload, silence around them, and the payloads (frames, symbols)."""
    rng = np.random.default_rng(seed)
    modulator = Modulator(settings)
    parts, payloads = [np.zeros(20000, np.complex64)], []
    for number in range(frames):
        header = FrameHeader(
            codec_id=7,
            scene_id=3,
            frame_number=number,
            tile_index=0,
            tiles_total=1,
            layers=(16,),
            symbols_per_layer=1024,
            tile_height=64,
            tile_width=64,
            bands=3,
            image_height=0,
            image_width=0,
            seed=number,
        )
        payload = rng.standard_normal((header.payload_symbols, 2)).astype(np.float32) / np.sqrt(2)
        payloads.append(payload.reshape(-1).view(np.complex64))
        parts.append(modulator.modulate(header, payloads[-1]))
    parts += [modulator.guard(), np.zeros(150000, np.complex64)]
    return np.concatenate(parts), np.array(payloads)


def received(samples: NDArray[np.complex64], settings: WaveformSettings) -> Any:
    """Frames in a recording."""
    receiver = Receiver(settings)
    return receiver.push(samples) + receiver.flush()


def frequency_of(samples: NDArray[np.complex64], rate: float) -> float:
    """The strongest frequency in Hz, to a small part of a bin."""
    spectrum = np.abs(np.fft.fft(samples * np.hanning(len(samples))))
    k = int(spectrum.argmax())
    a, b, c = (np.log(spectrum[(k + i) % len(samples)] + 1e-30) for i in (-1, 0, 1))
    return float((np.fft.fftfreq(len(samples))[k] + (a - c) / (2 * (a - 2 * b + c)) / len(samples)) * rate)


def wait_for_samples(path: Path, count: int = 1) -> None:
    """Until a receiver's file holds so many."""
    deadline = time.monotonic() + 40
    while not (path.exists() and path.stat().st_size >= 8 * count):
        assert time.monotonic() < deadline, f"{path} does not come to {count} samples"
        time.sleep(0.05)
