# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``djscc transmit`` does."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.campaign.points import gnuradio_module
from djscc.campaign.scenes import read_scene
from djscc.campaign.sender import FrameSource
from djscc.campaign.transmit_log import TransmitLog
from djscc.cli import options
from djscc.cli.interrupt import Interrupt
from djscc.cli.radio import radio_settings
from djscc.codec import load_codec
from djscc.link_control import ClosedLoop, loop_of_model
from djscc.links.samples import CHUNK
from djscc.memory import map_large_blocks
from djscc.radio import Endpoint, RadioEvents, RadioSettings, StreamError, parse_endpoint
from djscc.radio.levels import Levels
from djscc.radio.prbs import TestFrames
from djscc.radio.streams import About, SampleSink, open_sink
from djscc.waveform import FrameHeader, Modulator, WaveformSettings
from djscc.waveform.format import TEST_CODEC_ID

NOTE_S = 2.0  # that nobody takes samples before it is said
STALL_S = 5.0  # after Ctrl-C, a receiver that takes nothing for so long has the rest of its frame no more
Frame = tuple[FrameHeader, NDArray[np.complex64]]


class Frames:
    """The frames that a command sends, numbered on; an iterable of (header, payload)."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._repeat = arguments.repeat
        self.log: TransmitLog | None = None
        self.loop: ClosedLoop | None = None
        self.ratios: Counter[str] = Counter()  # of the frames that were made, where a loop chooses them
        self.sources: list[FrameSource | TestFrames] = []
        if arguments.prbs is not None:
            self.codec_id, self.images = TEST_CODEC_ID, 0
            self.sources = [TestFrames(arguments.prbs)]
            return
        codec = self.codec = load_codec(arguments.codec)
        layers = codec.layers_for_ratio(arguments.ratio)
        self.codec_id, self.images = codec.id, len(arguments.images)
        # all of them before anything is sent
        for tiles, size in [read_scene(name, arguments.limit, codec.bands) for name in arguments.images]:
            self.sources.append(
                FrameSource(
                    tiles,
                    codec,
                    layers,
                    arguments.told_snr,
                    arguments.tiles_per_frame,
                    size,
                    by_content=arguments.by_content,
                )
            )

    def __len__(self) -> int:
        """Frames of one repetition."""
        return sum(len(source) for source in self.sources)

    def __iter__(self) -> Iterator[Frame]:
        numbers = count()
        for _ in range(self._repeat) if self._repeat else count():
            for source in self.sources:
                if isinstance(source, TestFrames):  # their payload follows from the number
                    yield from (source.frame(next(numbers)) for _ in range(len(source)))
                    continue
                if self.log is not None:
                    self.log.scene(source.tiles)
                for header, payload in self._adapted(source):
                    number = next(numbers) & 0xFFFF
                    yield replace(header, frame_number=number, seed=number), payload

    def begin(self, header: FrameHeader) -> None:
        """The sending of a frame begins, which may be long after it was made, or never be."""
        if self.log is not None:
            self.log.frame(header)
        if self.loop is not None:
            self.loop.sent(header)

    def _adapted(self, source: FrameSource) -> Iterator[Frame]:
        """The frames of a source, each with the layers that the loop chooses at that time, if there is a loop."""
        frames = iter(source)
        for _ in range(len(source)):
            if self.loop is not None:
                choice = self.loop.choose()
                assert choice.ratio is not None
                source.layers = self.codec.layers_for_ratio(choice.ratio)
                self.ratios[choice.name] += 1
            yield next(frames)


def transmit(arguments: argparse.Namespace) -> int:
    """Run the command."""
    map_large_blocks()
    endpoint = parse_endpoint(arguments.sink, "--sink")
    if not arguments.images and arguments.prbs is None:
        raise StreamError("there is nothing to send; give IMAGE files or folders, or --prbs N for test frames")
    if arguments.images and arguments.prbs is not None:
        raise StreamError("--prbs sends test frames, no images; leave one of them out")
    if arguments.repeat < 0:
        raise StreamError(f"--repeat {arguments.repeat}: give 1 or more, or 0 for until Ctrl-C")
    radio = radio_settings(arguments)
    endpoint = endpoint.at(radio.address)
    rate, samples_per_symbol = radio.waveform
    settings = WaveformSettings(rate, samples_per_symbol, back_off_db=arguments.back_off)
    frames = Frames(arguments)
    frames.loop = _loop(arguments, frames)
    if arguments.dry_run:
        return _dry_run(arguments, frames, endpoint, radio, settings)
    result: dict[str, Any] = {"images": frames.images, "codec_id": f"{frames.codec_id:08x}"}
    with _logged(arguments, frames), _adapting(frames):
        if endpoint.hardware:
            result |= _over_radio(frames, endpoint, radio, settings)
        else:
            result |= _to_stream(frames, endpoint, radio, settings, arguments)
    if frames.loop is not None:
        result["adapt"] = {"reports": frames.loop.reports, "ratios": dict(frames.ratios)}
    options.write_json(arguments.json, result)
    what = "test frames" if arguments.prbs is not None else f"{frames.images} images in {result['frames_sent']} frames"
    if arguments.prbs is not None:
        what = f"{result['frames_sent']} {what}"
    target = endpoint.address if endpoint.kind == "file" else str(endpoint)
    events = {kind: n for kind, n in result.get("events", {}).items() if n}
    text = f"{what}, {result['samples']} samples, {target}" + "".join(f", {n} {kind}" for kind, n in events.items())
    print(text, file=sys.stderr if endpoint.kind == "-" else sys.stdout)
    return 0


def _loop(arguments: argparse.Namespace, frames: Frames) -> ClosedLoop | None:
    """The closed loop that is asked for, not yet started."""
    if arguments.adapt is None:
        if arguments.wanted is not None:
            raise StreamError(
                "--wanted needs --adapt MODEL.json, the model to choose by (djscc fit RUN --json MODEL.json)"
            )
        return None
    if arguments.wanted is None:
        raise StreamError(
            "--adapt needs --wanted Q, the quality to reach in the model's metric, such as 32 (dB of PSNR)"
        )
    if arguments.prbs is not None:
        raise StreamError("--adapt chooses the ratio of images; leave it out with --prbs")
    return loop_of_model(
        arguments.adapt,
        arguments.wanted,
        frames.codec,
        arguments.feedback,
        options.security(arguments),
        metric=arguments.metric,
        channel=arguments.model_channel,
        reliability=arguments.reliability,
    )


@contextmanager
def _adapting(frames: Frames) -> Iterator[None]:
    """Listen to the receiver meanwhile, where a loop is asked for."""
    if frames.loop is None:
        yield
        return
    frames.loop.start()
    try:
        yield
    finally:
        frames.loop.close()


@contextmanager
def _logged(arguments: argparse.Namespace, frames: Frames) -> Iterator[None]:
    """Log what is sent meanwhile, where that is asked for."""
    if arguments.log is None:
        yield
        return
    settings = {key: str(value) for key, value in vars(arguments).items() if value is not None and key != "run"}
    frames.log = TransmitLog(arguments.log, settings)
    try:
        yield
    finally:
        frames.log.close()


def _to_stream(
    frames: Frames, endpoint: Endpoint, radio: RadioSettings, settings: WaveformSettings, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Send over what needs no radio; it waits where the other end does."""
    modulator = Modulator(settings)
    about = About(settings, radio, codec_id=frames.codec_id)
    sent = written = 0
    sink = open_sink(endpoint, about, options.security(arguments))
    waiting = _Waiting(endpoint)
    try:
        with Interrupt() as interrupt:
            for header, payload in frames:
                samples = modulator.modulate(header, payload)
                taken = _deliver(sink, samples[:CHUNK], interrupt, waiting)
                if taken:
                    frames.begin(header)
                    taken += _deliver(sink, samples[CHUNK:], interrupt, waiting, begun=True)
                written += taken
                if taken < len(samples):
                    return {"frames_sent": sent, "samples": written}
                sent += 1
                if interrupt.requested:
                    break
            written += _deliver(sink, modulator.guard(), interrupt, waiting)
    finally:
        sink.close()
    return {"frames_sent": sent, "samples": written}


def _deliver(
    sink: SampleSink, samples: NDArray[np.complex64], interrupt: Interrupt, waiting: _Waiting, begun: bool = False
) -> int:
    """Give samples to a sink, as long as it takes; returns how many it took: fewer than all only after an interrupt: at once, or of
    a frame that has ``begun`` when it took none for ``STALL_S``."""
    before, since = 0, time.monotonic()
    while not sink.write(samples):
        now = time.monotonic()
        if sink.taken > before:
            before, since = sink.taken, now
        if interrupt.requested and (not begun or now - since > STALL_S):
            return sink.taken
        waiting.note()
    return len(samples)


class _Waiting:
    """Says once that nobody takes the samples."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint, self._since, self._said = endpoint, time.monotonic(), False

    def note(self) -> None:
        if not self._said and time.monotonic() - self._since > NOTE_S:
            print(f"waiting for a receiver at {self._endpoint}", file=sys.stderr, flush=True)
            self._said = True


def _over_radio(frames: Frames, endpoint: Endpoint, radio: RadioSettings, settings: WaveformSettings) -> dict[str, Any]:
    """Send by a radio: one flowgraph."""
    events = RadioEvents()
    blocks = gnuradio_module()
    ahead = 4 if frames.loop is None else 1  # a frame made ahead has a ratio chosen so much earlier
    flowgraph = blocks.radio_transmitter(frames, endpoint, radio, settings, events, False, frames.begin, ahead)
    print(f"{endpoint}: {_listed(flowgraph.front_end.actual)}", flush=True)
    with Interrupt() as interrupt:
        flowgraph.run_to_end(lambda: interrupt.requested)
    return {
        "frames_sent": flowgraph.frames,
        "samples": flowgraph.samples,
        "radio": flowgraph.front_end.actual,
        "events": events.counts,
    }


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v:.10g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())


def _dry_run(
    arguments: argparse.Namespace, frames: Frames, endpoint: Endpoint, radio: RadioSettings, settings: WaveformSettings
) -> int:
    """Say what would be sent, by modulating all of one repetition."""
    modulator, levels = Modulator(settings), Levels(settings)
    frames._repeat = 1
    multiple = radio.filled_up_to(endpoint.kind)
    for header, payload in frames:
        samples = modulator.modulate(header, payload)
        levels.add(samples)
        levels.add_silence(-len(samples) % multiple)
    levels.add_silence(-(-len(modulator.guard()) // multiple) * multiple)
    result = {
        "sink": str(endpoint),
        "frames": levels.frames,
        "repeat": arguments.repeat,
        "codec_id": f"{frames.codec_id:08x}",
        "radio": radio.to_dict(),
        "waveform": settings.to_dict(),
        **levels.result(),
    }
    options.write_json(arguments.json, result)
    for row in levels.rows(str(endpoint), radio, frames.images, arguments.repeat):
        print(row)
    missing = [f"--{name}" for name in ("frequency", "gain") if getattr(radio, name) is None]
    if endpoint.hardware and missing:
        print(f"  {' and '.join(missing)} must be given before anything is sent")
    return 0
