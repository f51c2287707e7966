# SPDX-License-Identifier: GPL-3.0-or-later
"""Throughput of the channels on one core, beside GNU Radio's own blocks and a file copy in the same run.

    python -m djscc.channels.bench --json results/channels.json

Times are CPU seconds of the process, pinned to one core, best of several rounds, so that other load on the machine disturbs little.
The cost of GNU Radio's scheduler (null source to null sink) is taken off its blocks. Ratios travel better than speeds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from djscc import __version__
from djscc.channels.description import load_channel
from djscc.channels.sample_channel import SampleChannel
from djscc.channels.schema import ChannelError

RATE, CHUNK, ROUNDS = 2e6, 8192, 5
DOPPLER_HZ = 30.0

PARTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "noise": ({"snr_db": 10}, "noise_source added"),
    "noise, carrier and clock offset": ({"snr_db": 10, "cfo_hz": 1e3, "clock_ppm": 20}, "channel_model"),
    "rician fading": ({"fading": {"model": "rician", "doppler_hz": DOPPLER_HZ}}, "fading_model, 8 sinusoids"),
    "rician fading, line of sight with Doppler": (
        {"fading": {"model": "rician", "doppler_hz": DOPPLER_HZ, "line_of_sight_doppler_hz": 20}},
        "fading_model, 8 sinusoids",
    ),
    "shadowed rician fading": (
        {"fading": {"model": "shadowed-rician", "severity": "average"}},
        "fading_model, 8 sinusoids",
    ),
    "two-state fading": ({"fading": {"model": "two-state"}}, "fading_model, 8 sinusoids"),
    "ntn-tdl-d, 3 taps": (
        {"fading": {"model": "ntn-tdl", "profile": "D", "delay_spread_ns": 300}},
        "selective_fading_model, 3 paths of 8 sinusoids",
    ),
    "delay and clock offset": ({"delay_samples": 10.5, "clock_ppm": 20}, "channel_model"),
    "phase noise of a mask": (
        {"receiver": {"phase_noise": [[100, -70], [10000, -95], [1000000, -120]]}},
        "phase_noise_gen, one pole",
    ),
    "saleh amplifier": ({"amplifier": {"model": "saleh"}}, None),
    "rapp amplifier": ({"amplifier": {"model": "rapp"}}, None),
    "i/q imbalance": ({"receiver": {"iq_gain_db": 0.5, "iq_phase_deg": 1}}, "iqbal_gen"),
    "12-bit converter": ({"receiver": {"bits": 12}}, None),
}
PRESETS = ("awgn", "rician-k10", "shadowed-average", "ntn-tdl-d", "bench-pluto", "leo-600km-x-band")


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m djscc.channels.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=Path("results/channels.json"), metavar="FILE")
    parser.add_argument("--samples", type=int, default=2_000_000, help="in each round (default: %(default)s)")
    options = parser.parse_args(arguments)
    noise = np.random.default_rng(0).standard_normal((options.samples, 2), np.float32).view(np.complex64).ravel()
    theirs = gnuradio_times(noise)
    rows = []
    for name, (description, beside) in [
        *PARTS.items(),
        *((preset, (load_channel(preset).to_dict(), None)) for preset in PRESETS),
    ]:
        try:
            nanoseconds = channel_time(description, noise)
        except ChannelError as error:
            print(f"{name}: left out: {error}")
            continue
        rows.append({"channel": name, "ns_per_sample": round(nanoseconds, 2), "msps": round(1e3 / nanoseconds, 2)})
        if beside in theirs:
            rows[-1] |= {"beside": beside, "times_as_fast": round(theirs[beside] / nanoseconds, 2)}
        if "file copy" in theirs:
            rows[-1]["times_a_file_copy"] = round(theirs["file copy"] / nanoseconds, 3)
    result = {
        "command": "python -m djscc.channels.bench",
        "djscc": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "gnuradio": _gnuradio_version(),
        "processor": _processor(),
        "samples": options.samples,
        "sample_rate": RATE,
        "gnuradio_ns_per_sample": {name: round(value, 2) for name, value in theirs.items()},
        "channels": rows,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        beside = f"{row['times_as_fast']:6.2f} x {row['beside']}" if "beside" in row else ""
        print(f"{row['channel']:44s} {row['msps']:8.2f} Msps {beside}")
    for name, value in theirs.items():
        print(f"GNU Radio {name:34s} {1e3 / value:8.2f} Msps")


def channel_time(description: dict[str, Any], samples: np.ndarray[Any, np.dtype[np.complex64]]) -> float:
    """CPU nanoseconds per sample of a channel, samples coming in chunks as they do from a scheduler."""

    def once() -> None:
        channel = SampleChannel(load_channel(description), RATE, 2, 2.0)
        channel.push(samples[:CHUNK])  # what is made once, tables and first blocks, is not counted
        start = time.process_time()
        for at in range(0, len(samples), CHUNK):
            channel.push(samples[at : at + CHUNK])
        spent.append(time.process_time() - start)

    spent: list[float] = []
    for _ in range(ROUNDS):
        once()
    return min(spent) / len(samples) * 1e9


def gnuradio_times(samples: np.ndarray[Any, np.dtype[np.complex64]]) -> dict[str, float]:
    """CPU nanoseconds per sample of GNU Radio's blocks without the scheduler's, and of a file copy; empty without GNU Radio."""
    try:
        from gnuradio import analog, blocks, channels, gr
    except ImportError:
        print("GNU Radio is not there: no comparison.")
        return {}
    count = len(samples)
    size = gr.sizeof_gr_complex
    step = DOPPLER_HZ / RATE
    added: list[Any] = []

    def noise_adder() -> Any:
        adder = blocks.add_cc()
        added.append(analog.noise_source_c(analog.GR_GAUSSIAN, 1.0, 1))
        return adder

    def run(make: Callable[[], Any] | None) -> float:
        spent = []
        for _ in range(ROUNDS):
            graph = gr.top_block()
            source, head, sink = blocks.null_source(size), blocks.head(size, count), blocks.null_sink(size)
            graph.connect(source, head)
            block = make() if make else None
            if block is None:
                graph.connect(head, sink)
            else:
                graph.connect(head, block, sink)
                if added:
                    graph.connect(added.pop(), (block, 1))
            start = time.process_time()
            graph.run()
            spent.append(time.process_time() - start)
        return min(spent) / count * 1e9

    makers: dict[str, Callable[[], Any]] = {
        "noise_source added": noise_adder,
        "channel_model": lambda: channels.channel_model(0.3, 1e3 / RATE, 1 + 20e-6, [1.0 + 0j], 1, False),
        "fading_model, 8 sinusoids": lambda: channels.fading_model(8, step, True, 10.0, 1),
        "selective_fading_model, 3 paths of 8 sinusoids": lambda: channels.selective_fading_model(
            8, step, True, 14.8, 1, [0.0, 0.34, 4.4], [0.94, 0.32, 0.14], 24
        ),
        "phase_noise_gen, one pole": lambda: channels.phase_noise_gen(0.01, 0.1),
        "iqbal_gen": lambda: channels.iqbal_gen(0.5, 1.0, 0),
    }
    scheduler = run(None)
    times = {"scheduler alone": scheduler}
    times |= {name: run(make) - scheduler for name, make in makers.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.cf32"
        samples.tofile(path)
        spent = []
        for _ in range(ROUNDS):
            graph = gr.top_block()
            graph.connect(blocks.file_source(size, str(path)), blocks.file_sink(size, str(path) + ".copy"))
            start = time.process_time()
            graph.run()
            spent.append(time.process_time() - start)
        times["file copy"] = min(spent) / count * 1e9
    return times


def _gnuradio_version() -> str | None:
    try:
        from gnuradio import gr
    except ImportError:
        return None
    return str(gr.version())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    main()
