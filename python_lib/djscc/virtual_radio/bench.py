# SPDX-License-Identifier: GPL-3.0-or-later
"""A link rehearsed on virtual radios, by the commands that a user types, each a process of its own, on a real clock.

    python -m djscc.virtual_radio.bench
    python -m djscc.virtual_radio.bench --only soak --kind pluto     (half an hour; and beside it --kind usrp)

For a Pluto and a USRP: the shipped Landsat tiles, repeated, at 1 MS/s, oscillators and clocks 20 ppm apart; the same at the same
Es/N0 through the simulated loopback; the recording replayed; an overrun provoked by stopping the receiver's process; the
transmitter killed and started again. The carrier is such that 20 ppm of it stay within the receiver's search range, 8 % of the
symbol rate: 32 kHz of 1.6 GHz, at 500,000 symbols a second (range 40 kHz). The soak is slower, such that all three programs take
about half of a core: 20 kHz of 1 GHz, at 270,000 symbols a second (range 21.6 kHz), and ratio 1/4.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from djscc import __version__
from djscc.errors import DjsccError
from djscc.virtual_radio.usrp import module_folder

SYMBOL_RATE, CARRIER_HZ = 5e5, 1.6e9
SOAK_SYMBOL_RATE, SOAK_CARRIER_HZ, SOAK_RATIO = 2.7e5, 1e9, "1/4"
SOAK_EVERY_S = 15.0
SETTLED_MINUTES = 5.0  # memory is compared from then on
PPM = 20.0
SNR_DB = 10.0
RATIO = "1/12"
TILES_PER_FRAME, REPEAT = 16, 8
FRAMES = 64 // TILES_PER_FRAME * REPEAT
DECODER = "lite"
START_S, END_S = 60.0, 120.0
GAINS = {"pluto": (-10.0, 70.0), "usrp": (79.75, 74.0)}  # to transmit and to receive
# Buffers that a radio holds before it loses samples: a Pluto's own 4, 0.26 s; 1 s on a USRP. The programs and the air share one
# machine's cores.
BUFFERS = {"pluto": 4, "usrp": 40}
BUFFER_SIZE: dict[str, tuple[int | None, int | None]] = {"pluto": (65536, None), "usrp": (None, None)}  # send, receive
ADDRESSES = tuple(f"127.77.{os.getpid() % 250 + 1}.{i}" for i in (1, 2))  # another bench may run beside


class BenchError(DjsccError):
    """A command of the bench that did not do what it should."""


class Program:
    """``djscc`` with some arguments, in a process of its own; its lines are kept in ``log``."""

    def __init__(self, *arguments: Any, log: Path) -> None:
        self.arguments = [str(argument) for argument in arguments]
        environment = {"OMP_NUM_THREADS": "1"}
        if folder := module_folder():
            environment["UHD_MODULE_PATH"] = str(folder)
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "djscc.cli", *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | environment,
        )
        self._log, self._lines = log, queue.SimpleQueue[str | None]()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self._log.open("a") as file:
            for line in self.process.stdout:
                file.write(line)
                file.flush()
                self._lines.put(line)
        self._lines.put(None)

    def line(self, wanted: Callable[[str], bool], limit_s: float = START_S) -> str:
        """Wait for a line; BenchError when it does not come."""
        deadline = time.monotonic() + limit_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                break
            if wanted(line):
                return line
        raise BenchError(f"djscc {' '.join(self.arguments)} does not come up; see {self._log}")

    def wait(self, limit_s: float = END_S) -> int:
        """Wait for its end; BenchError when it does not come."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise BenchError(f"djscc {' '.join(self.arguments)} does not end; see {self._log}") from None

    def stop(self, limit_s: float = END_S) -> int:
        """Interrupt it as Ctrl-C does, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.wait(limit_s)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def cpu_seconds(self) -> float:
        """Processor time that it took so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return round((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 1)

    def memory_mb(self) -> float:
        """What it holds of the machine's memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Link:
    """Two virtual radios of a kind and the commands that use them; a folder for what they leave."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.symbol_rate, self.carrier_hz, self.ratio = SYMBOL_RATE, CARRIER_HZ, RATIO
        self.buffer_size = BUFFER_SIZE[kind]
        folder.mkdir(parents=True, exist_ok=True)

    def air(self) -> Program:
        """Start the radios."""
        program = Program(
            f"virtual-{self.kind}",
            *("--radios", 2, "--address", ",".join(ADDRESSES), "--lo-ppm", f"{PPM},0", "--clock-ppm", f"{PPM},0"),
            *("--snr", SNR_DB, "--symbol-rate", self.symbol_rate, f"--transmit-gain={GAINS[self.kind][0]}"),
            *("--clock", "real", "--buffers", BUFFERS[self.kind], "--json", self.folder / "air.json"),
            log=self.folder / "air.log",
        )
        program.line(lambda line: line.strip() == "ready")
        return program

    def _end(self, index: int) -> str:
        address = ADDRESSES[index]
        return f"pluto:ip:{address}" if self.kind == "pluto" else f"usrp:type=virtual,addr={address}"

    def _radio(self, way: int) -> tuple[Any, ...]:
        """Settings of the radio that transmits (0) or receives (1)."""
        size = self.buffer_size[way]
        return (
            *("--frequency", self.carrier_hz, "--symbol-rate", self.symbol_rate, f"--gain={GAINS[self.kind][way]}"),
            *(("--buffer-size", size) if size else ()),
        )

    def receive(self, name: str, *options: Any) -> Program:
        """Start a receiver that logs to run ``name``; returns when it listens."""
        program = Program(
            *("receive", "--source", self._end(1), *self._radio(1)),
            *("--decoder", DECODER, "--run", self.folder / name, "--json", self.folder / f"{name}.json", *options),
            log=self.folder / f"{name}.log",
        )
        program.line(lambda line: "frequency" in line and "gain" in line)
        time.sleep(2.0)
        return program

    def transmit(self, name: str, *options: Any) -> Program:
        """Start a transmitter."""
        return Program(
            *("transmit", "landsat", "--sink", self._end(0), *self._radio(0)),
            *("--ratio", self.ratio, "--tiles-per-frame", TILES_PER_FRAME),
            *("--json", self.folder / f"{name}-sent.json", *options),
            log=self.folder / f"{name}-sent.log",
        )

    def records(self, name: str) -> list[dict[str, Any]]:
        """The run log of a receiver."""
        path = self.folder / name / "frames.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def result(self, name: str) -> dict[str, Any]:
        """The result that a command wrote."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else {}


def frames_run(link: Link, loopback: dict[str, Any]) -> dict[str, Any]:
    """Every frame of a run, beside the simulated loopback; its recording replayed."""
    air = link.air()
    try:
        began = time.monotonic()
        receiver = link.receive(
            "frames", "--frames", FRAMES, "--seconds", 90, "--record", f"sigmf:{link.folder / 'record'}"
        )
        sender = link.transmit("frames", "--repeat", REPEAT)
        sent_code, code = sender.wait(), receiver.wait()
        seconds = time.monotonic() - began
    finally:
        air.stop()
    records = link.records("frames")
    replay = Program(
        *("receive", "--source", f"sigmf:{link.folder / 'record'}", "--decoder", DECODER, "--frames", FRAMES),
        *("--run", link.folder / "replay", "--json", link.folder / "replay.json"),
        log=link.folder / "replay.log",
    )
    replay.wait()
    psnr = replayed_psnr(link)
    state = link.result("air")
    return {
        "frames_sent": link.result("frames-sent").get("frames_sent"),
        "frames_received": len(records),
        "tiles_received": link.result("frames").get("tiles_received"),
        "exit_codes": [sent_code, code],
        "psnr_db": round(psnr, 3),
        "loopback_psnr_db": round(loopback["psnr_db"], 3),
        "psnr_difference_db": round(psnr - loopback["psnr_db"], 3),
        **means(records),
        "erased_mean": mean(records, "erased"),
        "events_transmit": link.result("frames-sent").get("events"),
        "events_receive": link.result("frames").get("events"),
        "counters": link.result("frames").get("counters"),
        "air_clock_held_s": state.get("clock_held_s"),
        "seconds": round(seconds, 1),
        "replay": compare(records, link.records("replay")),
    }


def replayed_psnr(link: Link) -> float:
    """PSNR of all frames of the recording, against the originals."""
    from djscc.campaign.plan import resolve_data
    from djscc.campaign.reception import FrameSink
    from djscc.imagery import load_tiles
    from djscc.radio import parse_endpoint
    from djscc.radio.streams import End, Gap, open_source
    from djscc.waveform import Receiver, WaveformSettings

    settings = WaveformSettings(SYMBOL_RATE, 2)
    sink = FrameSink((), load_tiles(resolve_data("landsat")), None, metrics=("psnr_db",), decoder=DECODER)
    receiver = Receiver(settings)
    values: list[float] = []
    source = open_source(parse_endpoint(f"sigmf:{link.folder / 'record'}", "--source"))
    for item in [*source, End()]:
        if isinstance(item, np.ndarray):
            frames = receiver.push(item)
        elif isinstance(item, Gap):
            frames = receiver.skip(item.count)
        elif isinstance(item, End):
            frames = receiver.flush()
        else:
            frames = []
        for frame in frames[: FRAMES - len(values) // TILES_PER_FRAME]:
            values += [tile["psnr_db"] for tile in sink.accept(frame)["tiles"]]
    sink.close()
    return float(np.mean(values)) if values else float("nan")


def compare(live: list[dict[str, Any]], replayed: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether two logs say the same, the time of writing aside."""
    ours = [{key: value for key, value in record.items() if key != "time"} for record in live]
    theirs = [{key: value for key, value in record.items() if key != "time"} for record in replayed]
    differing = {key for a, b in zip(ours, theirs, strict=False) for key in {*a, *b} if a.get(key) != b.get(key)}
    return {"frames": len(theirs), "same_log": ours == theirs, "fields_that_differ": sorted(differing)}


def mean(records: list[dict[str, Any]], key: str) -> float | None:
    """Mean of a value over the records that have it."""
    values = [record[key] for record in records if record.get(key) is not None]
    return round(float(np.mean(values)), 4) if values else None


def means(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What the receiver measured of oscillators, clocks and noise."""
    return {key: mean(records, key) for key in ("snr_est_db", "cfo_hz", "clock_ppm")}


def numbers_missing(records: list[dict[str, Any]]) -> list[int]:
    """Frame numbers between the first and the last that did not come."""
    numbers = [record["frame_number"] for record in records]
    return sorted(set(range(min(numbers), max(numbers) + 1)) - set(numbers)) if numbers else []


def overrun_run(link: Link, _: dict[str, Any]) -> dict[str, Any]:
    """The receiver's process is stopped for a while: what its radio cannot hold meanwhile is lost."""
    air = link.air()
    pause_s = 3.0
    try:
        receiver = link.receive("overrun", "--seconds", 25)
        sender = link.transmit("overrun", "--repeat", 0)
        receiver.line(lambda line: line.startswith("frame 20:"))
        receiver.process.send_signal(signal.SIGSTOP)
        time.sleep(pause_s)
        receiver.process.send_signal(signal.SIGCONT)
        receiver.wait()
        sender.stop()
    finally:
        air.stop()
    records = link.records("overrun")
    marked = [record["frame_number"] for record in records if record.get("overruns")]
    whole = records[:-1]  # the last was under way when the time was over
    hurt = [record["frame_number"] for record in whole if record["erased"] > 0 or record.get("lost_samples")]
    events = link.folder / "overrun" / "events.jsonl"
    return {
        "stopped_s": pause_s,
        "frames_received": len(records),
        "frames_marked": marked,
        "frames_with_erasures": hurt,
        "all_of_those_marked": set(hurt) <= set(marked),
        "frame_numbers_missing": len(numbers_missing(records)),
        "events_receive": link.result("overrun").get("events"),
        "events_logged": len(events.read_text().splitlines()) if events.exists() else 0,
        "frames_after_it": sum(record["frame_number"] > max(marked, default=1 << 16) for record in records),
    }


def restart_run(link: Link, _: dict[str, Any]) -> dict[str, Any]:
    """The transmitter is killed in the middle of a frame and started again; the receiver goes on."""
    air = link.air()
    try:
        receiver = link.receive("restart", "--seconds", 40)
        first = link.transmit("restart-first", "--repeat", 0)
        receiver.line(lambda line: line.startswith("frame 12:"))
        first.kill()
        second = link.transmit("restart", "--repeat", 4)
        second_code = second.wait()
        time.sleep(2.0)
        code = receiver.stop()
    finally:
        air.stop()
    numbers = [record["frame_number"] for record in link.records("restart")]
    again = [i for i in range(1, len(numbers)) if numbers[i] < numbers[i - 1]]
    return {
        "frames_before": again[0] if again else len(numbers),
        "frames_after": len(numbers) - again[0] if again else 0,
        "frames_sent_after": link.result("restart-sent").get("frames_sent"),
        "exit_codes": [second_code, code],
        "counters": link.result("restart").get("counters"),
    }


def soak_run(link: Link, minutes: float) -> dict[str, Any]:
    """Frames for so many minutes, and what each process holds in memory."""
    link.symbol_rate, link.carrier_hz, link.ratio = SOAK_SYMBOL_RATE, SOAK_CARRIER_HZ, SOAK_RATIO
    link.buffer_size = (None, None)
    air = link.air()
    samples: list[dict[str, float]] = []
    cpu: dict[str, float] = {}
    try:
        began = time.monotonic()
        receiver = link.receive("soak", "--seconds", 60 * minutes + 15)
        sender = link.transmit("soak", "--repeat", 0)
        programs = {"air": air, "transmit": sender, "receive": receiver}
        time.sleep(SOAK_EVERY_S)
        for _ in range(round(60 * minutes / SOAK_EVERY_S)):
            minute = (time.monotonic() - began) / 60
            samples.append({"minute": round(minute, 2), **{k: round(p.memory_mb(), 1) for k, p in programs.items()}})
            cpu = {name: program.cpu_seconds() for name, program in programs.items()}
            time.sleep(SOAK_EVERY_S)
            if any(program.process.poll() is not None for program in (air, sender)):
                break
        sender.stop()
        receiver.stop()
    finally:
        air.stop()
    records = link.records("soak")
    settled = [sample for sample in samples if sample["minute"] >= SETTLED_MINUTES] or samples
    growth = {}
    for name in programs:
        values = [sample[name] for sample in settled]
        slope = np.polyfit([sample["minute"] for sample in settled], values, 1)[0] if len(settled) > 2 else float("nan")
        growth[name] = {
            "first_mb": values[0],
            "last_mb": values[-1],
            "most_mb": max(values),
            "mb_per_minute": round(float(slope), 3),
        }
    every = max(len(samples) // 20, 1)
    return {
        "minutes": minutes,
        "symbol_rate": link.symbol_rate,
        "sample_rate": 2 * link.symbol_rate,
        "carrier_hz": link.carrier_hz,
        "ratio": link.ratio,
        "buffer_size": "the commands' own",
        "processor_seconds": cpu,
        "frames_sent": link.result("soak-sent").get("frames_sent"),
        "frames_received": len(records),
        "frame_numbers_missing": len(numbers_missing(records)),
        **means(records),
        f"memory_after_minute_{SETTLED_MINUTES:g}": growth,
        "memory_mb": samples[::every],
        "events_transmit": link.result("soak-sent").get("events"),
        "events_receive": link.result("soak").get("events"),
        "air_clock_held_s": link.result("air").get("clock_held_s"),
    }


def loopback_result(folder: Path) -> dict[str, Any]:
    """The same frames through the simulated loopback, at the same Es/N0."""
    program = Program(
        *("loopback", "--ratio", RATIO, "--snr", SNR_DB, "--symbol-rate", SYMBOL_RATE, "--decoder", DECODER),
        *("--cfo", CARRIER_HZ * PPM * 1e-6, "--ppm", PPM, "--tiles-per-frame", TILES_PER_FRAME, "--repeat", REPEAT),
        *("--json", folder / "loopback.json"),
        log=folder / "loopback.log",
    )
    if program.wait(600) != 0:
        raise BenchError(f"djscc loopback failed; see {folder / 'loopback.log'}")
    result: dict[str, Any] = json.loads((folder / "loopback.json").read_text())
    return result


RUNS: dict[str, Callable[[Link, dict[str, Any]], dict[str, Any]]] = {
    "frames": frames_run,
    "overrun": overrun_run,
    "restart": restart_run,
}


def main(arguments: list[str] | None = None) -> None:
    """Run, print, write JSON; what an earlier run left in the file stays, unless it is measured anew."""
    parser = argparse.ArgumentParser(prog="python -m djscc.virtual_radio.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=Path("results/virtual_radio.json"), metavar="FILE")
    parser.add_argument("--kind", choices=("pluto", "usrp"), action="append", help="only this kind of radio")
    parser.add_argument(
        "--only",
        choices=(*RUNS, "soak"),
        action="append",
        help="only this; may be given more than once (default: all but the soak)",
    )
    parser.add_argument("--soak", type=float, default=30.0, metavar="MINUTES", help="length of the soak (default: 30)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep runs and logs there (default: none are kept)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        if options.folder:
            options.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=options.folder or scratch))
        about = {
            "command": "python -m djscc.virtual_radio.bench",
            "djscc": __version__,
            "processor": _processor(),
            "setting": {
                "sample_rate": 2 * SYMBOL_RATE,
                "symbol_rate": SYMBOL_RATE,
                "carrier_hz": CARRIER_HZ,
                "oscillators_ppm_apart": PPM,
                "clocks_ppm_apart": PPM,
                "offset_hz": CARRIER_HZ * PPM * 1e-6,
                "search_range_hz": 0.08 * SYMBOL_RATE,
                "snr_db": SNR_DB,
                "ratio": RATIO,
                "tiles": FRAMES * TILES_PER_FRAME,
                "tiles_per_frame": TILES_PER_FRAME,
                "decoder": DECODER,
                "clock": "real",
                "buffers": BUFFERS,
                "buffer_size": BUFFER_SIZE,
                "programs": "one process each, on the cores of one machine",
            },
        }
        wanted = options.only or list(RUNS)
        loopback = loopback_result(folder) if "frames" in wanted else {}
        for kind in options.kind or ("pluto", "usrp"):
            if kind == "usrp" and module_folder() is None:
                print("usrp: left out: the UHD module is not installed")
                continue
            for name in wanted:
                link = Link(kind, folder / f"{kind}-{name}")
                link.folder.mkdir(parents=True, exist_ok=True)
                measured = soak_run(link, options.soak) if name == "soak" else RUNS[name](link, loopback)
                measured |= {"load_average": round(os.getloadavg()[0], 1), "priority": _priority()}
                print(f"{kind} {name}: {json.dumps(measured)}", flush=True)
                result = json.loads(options.json.read_text()) if options.json.exists() else {}  # another may run beside
                result |= about
                result.setdefault(kind, {})[name] = measured
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(json.dumps(result, indent=1) + "\n")


def _priority() -> str:
    """Of this process and those that it starts."""
    group = Path("/proc/self/autogroup")
    return f"nice {os.nice(0)}" + (f", autogroup {group.read_text().split()[-1]}" if group.exists() else "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
