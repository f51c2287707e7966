# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``djscc receive`` does."""

from __future__ import annotations

import argparse
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.campaign.points import gnuradio_module
from djscc.campaign.reception import FrameSink
from djscc.campaign.runlog import RunError, RunLog, now
from djscc.cli import options
from djscc.cli.interrupt import Interrupt
from djscc.cli.radio import radio_settings
from djscc.errors import DjsccError
from djscc.links import MetricsPublisher
from djscc.memory import map_large_blocks
from djscc.radio import Endpoint, RadioEvents, RadioSettings, StreamError, parse_endpoint
from djscc.radio.prbs import TestSink, line
from djscc.radio.sigmf_files import Recorder, SigmfSource
from djscc.radio.streams import About, End, Gap, Overrun, open_source
from djscc.tasks import load_tasks
from djscc.waveform import ReceivedFrame, Receiver, ReceiverCounters, WaveformSettings

KEPT = 1  # records held in memory; the log has them all


class Intake:
    """Stands before a sink of frames: says and sums up what comes, and lets ``limit`` frames through at most."""

    def __init__(self, sink: FrameSink | TestSink, limit: int | None) -> None:
        self.sink, self._limit = sink, limit
        self.publisher: MetricsPublisher | None = None
        self.frames = self.tiles = 0
        self.last: dict[str, Any] | None = None
        self.refused: str | None = None
        self._sums: dict[str, tuple[float, int]] = {}

    @property
    def latest(self) -> NDArray[np.uint8] | None:
        """Tiles of the last frame."""
        return self.sink.latest

    @property
    def enough(self) -> bool:
        """Whether as many frames came as were asked for."""
        return self._limit is not None and self.frames >= self._limit

    def accept(self, frame: ReceivedFrame) -> dict[str, Any]:
        """Take a frame; returns its record."""
        record = self.sink.accept(frame)
        if self.publisher is not None:
            self.publisher.frame(frame, record, None if "refused" in record else self.sink.latest)
        self.frames += 1
        self.last = record
        self.refused = self.refused or record.get("refused")
        self.tiles += sum(tile.get("erased", 1) < 1 for tile in record["tiles"])
        for key in ("ratio", "on_air_ratio", "snr_est_db"):
            if record.get(key) is not None:
                total, count = self._sums.get(key, (0.0, 0))
                self._sums[key] = total + record[key], count + 1
        shown = line(record) if isinstance(self.sink, TestSink) else _line(record, len(frame.header.layers))
        with suppress(BrokenPipeError):  # reception goes on where nobody reads its lines any more
            print(shown, flush=True)
        return record

    def mean(self, key: str) -> float | None:
        """Mean of a value over the frames that have it."""
        total, count = self._sums.get(key, (0.0, 0))
        return total / count if count else None

    def close(self) -> None:
        """No more frames come."""
        self.sink.close()


def receive(arguments: argparse.Namespace) -> int:
    """Run the command."""
    map_large_blocks()
    endpoint = parse_endpoint(arguments.source, "--source")
    if arguments.seconds is not None and arguments.seconds <= 0:
        raise StreamError(f"--seconds {arguments.seconds:g}: give a time above 0")
    if arguments.prbs and (arguments.tasks or arguments.decoder is not None):
        given = "--task" if arguments.tasks else "--decoder"
        raise StreamError(f"{given}: test frames (--prbs) carry no images to decode; leave one of them out")
    radio = radio_settings(arguments)
    endpoint = endpoint.at(radio.address)
    source = None if endpoint.hardware else open_source(endpoint, options.security(arguments))
    if source is not None:
        radio = radio.over(source.settings) if radio.sample_rate is None else radio
    rate, samples_per_symbol = radio.waveform
    roll_off = source.roll_off if isinstance(source, SigmfSource) else None
    settings = WaveformSettings(rate, samples_per_symbol, roll_off or WaveformSettings.roll_off)
    log = RunLog(arguments.run_folder)
    if log.frames.exists():
        raise StreamError(f"{log.folder}: holds a run already; give another --run folder")
    run_id = uuid.uuid4().hex[:16]
    sink: FrameSink | TestSink
    if arguments.prbs:
        sink = TestSink(log, settings, KEPT)
    else:
        tasks = load_tasks(arguments.tasks)
        sink = FrameSink(
            log=log, pictures=1 << 24, settings=settings, decoder=arguments.decoder, keep=KEPT, tasks=tasks
        )
    intake = Intake(sink, arguments.frames)
    about = About(settings, radio, run_id=run_id, device=str(endpoint) if endpoint.hardware else None)
    said = {"source": arguments.source, "decoder": arguments.decoder, "waveform": settings.to_dict(), "run_id": run_id}

    def start(actual: Mapping[str, Any]) -> Recorder | None:
        settings = said | {"radio": radio.to_dict(), "radio_actual": dict(actual), "prbs": arguments.prbs}
        log.start(settings, replace=True)
        return None if arguments.record is None else Recorder(_recording(arguments.record), about)

    run = _Run(arguments, endpoint, settings, intake, start)
    with _published(arguments, run, said | {"radio": radio.to_dict()}):
        if source is None:
            run.over_radio(radio, log)
        else:
            try:
                run.from_stream(source)
            finally:
                source.close()
    pictures = sorted(str(path) for path in (log.folder / "received").glob("*.png"))
    result = {
        "frames_received": intake.frames,
        "tiles_received": intake.tiles,
        **{key: intake.mean(key) for key in ("ratio", "on_air_ratio", "snr_est_db")},
        "pictures": pictures,
        "counters": run.counters.to_dict(),
        "events": run.events.counts,
    }
    if isinstance(sink, TestSink):
        result["prbs"] = sink.summary()
    options.write_json(arguments.json, result)
    for picture in pictures:
        print(picture)
    if isinstance(sink, TestSink):
        print(_summary(sink.summary(), run.counters))
    if events := {kind: n for kind, n in run.events.counts.items() if n}:
        print("radio: " + ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in events.items()))
    _complain(arguments, endpoint, intake, run)
    return 0


@contextmanager
def _published(arguments: argparse.Namespace, run: _Run, settings: dict[str, Any]) -> Iterator[None]:
    """Publish every frame meanwhile, where that is asked for."""
    if arguments.publish is None:
        yield
        return
    publisher = MetricsPublisher(arguments.publish, options.security(arguments), settings=settings)
    publisher.status = lambda: {"frames_dropped": run.events.counts.get("frames_dropped", 0)}
    run.intake.publisher = publisher
    try:
        yield
    finally:
        publisher.close()


def _complain(arguments: argparse.Namespace, endpoint: Endpoint, intake: Intake, run: _Run) -> None:
    """Raise what the run ended with."""
    name = endpoint.address if endpoint.kind in ("file", "sigmf") else str(endpoint)
    if run.problem is not None:
        raise run.problem
    if intake.refused is not None:
        raise StreamError(intake.refused)
    if intake.last is None:
        hint = "the gains, and that the transmitter sends" if endpoint.hardware else "that it holds cf32 samples"
        if endpoint.kind == "file":
            hint = "--symbol-rate and --samples-per-symbol, and that it holds cf32 samples"
        raise StreamError(f"{name}: no frame found; check {hint}")
    if run.at_end and run.counters.truncated and intake.last["erased"] > 0:
        raise StreamError(
            f"{name}: truncated recording: it ends inside frame {intake.last['frame_number']}, "
            f"{100 * intake.last['erased']:.0f} % of whose symbols are missing and taken as erased; all else was received"
        )


class _Run:
    """One reception: what it counted, and the problem that it ended with, if any."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        endpoint: Endpoint,
        settings: WaveformSettings,
        intake: Intake,
        start: Callable[[Mapping[str, Any]], Recorder | None],
    ) -> None:
        self._arguments, self._endpoint, self._settings = arguments, endpoint, settings
        self.intake, self._start = intake, start
        self.events, self.counters = RadioEvents(), ReceiverCounters()
        self.problem: DjsccError | None = None
        self.at_end = False  # a recording was read to its end

    def from_stream(self, source: Any) -> None:
        """Receive from what needs no radio, frame by frame."""
        receiver, intake = Receiver(self._settings), self.intake
        self.counters = receiver.counters
        seconds = self._arguments.seconds
        items, tap = iter(source), self._start({})
        try:
            with Interrupt(seconds if source.live else None) as interrupt:
                while not (interrupt.requested or intake.enough):
                    try:
                        item = next(items, End())
                    except DjsccError as error:  # what was read before it still counts
                        self.problem, item = error, End()
                    goes_on = self.problem is None and source.live and self._goes_on(source)
                    last = isinstance(item, End) and not goes_on
                    self.at_end = last and not source.live
                    if not source.live and seconds is not None and isinstance(item, np.ndarray):
                        left = max(round(seconds * self._settings.sample_rate) - receiver.position, 0)
                        last, item = len(item) >= left, item[:left]
                    if tap is not None:
                        _record(tap, item)
                    for frame in _frames(receiver, item):
                        if not intake.enough:
                            intake.accept(frame)
                    if last:
                        break
                if not intake.enough and not self.at_end:
                    for frame in receiver.flush():
                        if not intake.enough:
                            intake.accept(frame)
        finally:
            intake.close()
            if tap is not None:
                tap.close()

    def _goes_on(self, source: Any) -> bool:
        """Whether another transmission may follow on this source, and is waited for."""
        asked = self._arguments.frames is not None or self._arguments.seconds is not None
        return self._endpoint.kind == "zmq" and asked

    def over_radio(self, radio: RadioSettings, log: RunLog) -> None:
        """Receive by a radio: one flowgraph, whose decoder does not hold up the radio."""
        path = log.folder / "events.jsonl"
        self.events = RadioEvents(lambda event: _append(path, event))
        tap: _LateTap | None = _LateTap() if self._arguments.record is not None else None
        try:
            flowgraph = gnuradio_module().radio_receiver(
                self.intake,
                self._endpoint,
                radio,
                self._settings,
                self.events,
                self._arguments.frames or 0,
                self._arguments.queue,
                tap,
            )
            recorder = self._start(flowgraph.front_end.actual)
            if tap is not None:
                tap.recorder = recorder
            actual = flowgraph.front_end.actual
            shown = ", ".join(f"{k} {v:.10g}" if isinstance(v, float) else f"{k} {v}" for k, v in actual.items())
            print(f"{self._endpoint}: {shown}", flush=True)
            try:
                with Interrupt(self._arguments.seconds) as interrupt:
                    flowgraph.run_to_end(lambda: interrupt.requested)
            except DjsccError as error:
                self.problem = error
            finally:
                self.counters = flowgraph.counters
                if recorder is not None:
                    recorder.close()
        finally:
            self.intake.close()


class _LateTap:
    """Hands samples to a recorder that is opened when the radio is set."""

    recorder: Recorder | None = None

    def write(self, samples: NDArray[np.complex64]) -> None:
        if self.recorder is not None:
            self.recorder.write(samples)

    def gap(self, count: int) -> None:
        if self.recorder is not None:
            self.recorder.gap(count)

    def overrun(self, first: int, last: int) -> None:
        if self.recorder is not None:
            self.recorder.overrun(first, last)


def _frames(receiver: Receiver, item: Any) -> list[ReceivedFrame]:
    """The frames that an item of a source completes."""
    if isinstance(item, End):
        return receiver.flush()
    if isinstance(item, Gap):
        return receiver.skip(item.count)
    if isinstance(item, Overrun):
        receiver.overrun(item.first, item.last)
        return []
    return [] if item is None else receiver.push(item)


def _record(tap: Recorder, item: Any) -> None:
    if isinstance(item, Gap):
        tap.gap(item.count)
    elif isinstance(item, Overrun):
        tap.overrun(item.first, item.last)
    elif isinstance(item, np.ndarray):
        tap.write(item)


def _recording(text: str) -> str:
    kind, _, name = text.partition(":")
    if kind != "sigmf" or not name:
        raise StreamError(f"--record {text!r}: give sigmf:NAME")
    return name


def _append(path: Path, event: Mapping[str, Any]) -> None:
    """Add one line to the log of events."""
    try:
        with path.open("a") as file:
            file.write(json.dumps({"time": now(), **event}) + "\n")
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}); what it holds is kept") from error


def _summary(values: Mapping[str, Any], counters: ReceiverCounters) -> str:
    """All test frames in a line."""
    if not values["frames_received"]:
        return "no test frame received"
    return (
        f"{values['frames_received']} test frames, {counters.frames_missed} missed, {counters.headers_lost} headers lost: "
        f"EVM {_rounded(values['evm_percent'])} %, Es/N0 {_rounded(values['snr_db'])} dB (estimated "
        f"{_rounded(values['snr_est_db'])} dB), CFO {_rounded(values['cfo_hz'])} Hz, clock {_rounded(values['clock_ppm'])} ppm, "
        f"{values['lost_samples']} samples lost in {values['frames_hit']} frames"
    )


def _line(record: dict[str, Any], tiles: int) -> str:
    overruns = f", {record['overruns']} overruns" if record.get("overruns") else ""
    return (
        f"frame {record['frame_number']}: {tiles} tiles, Es/N0 {_rounded(record['snr_est_db'])} dB, "
        f"CFO {_rounded(record['cfo_hz'])} Hz, "
        f"{100 * record['erased']:.1f} % erased{overruns}"
        + (f", refused: {record['refused']}" if "refused" in record else "")
    )


def _rounded(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"
