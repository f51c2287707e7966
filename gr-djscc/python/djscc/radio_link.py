# SPDX-License-Identifier: GPL-3.0-or-later
"""Transmitter and receiver over a radio, each as one flowgraph: what ``djscc transmit`` and ``djscc receive`` run on hardware."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from gnuradio import gr

from djscc.memory import return_freed_memory, spare_no_more, spare_what_is_loaded
from djscc.radio import Endpoint, RadioEvents, RadioSettings
from djscc.waveform import FrameHeader, ReceiverCounters, WaveformSettings

from .decoder_sink import FrameTaker, decoder_sink
from .encoder_source import Frame, encoder_source
from .flowgraph import run_to_end
from .frame_modulator import frame_modulator
from .frame_receiver import SampleTap, frame_receiver
from .front_end import WAITING_SAMPLES, FrontEnd
from .pluto_front_end import pluto_sink, pluto_source
from .soapy_front_end import soapy_sink, soapy_source
from .usrp_front_end import usrp_sink, usrp_source

STALL_S = 30.0  # a radio that gives no samples for so long is taken for gone
QUEUE_SYMBOLS = 1 << 24  # 218 MB; 34 s at 500,000 symbols a second
FLUSH_S = 1.0  # between writes of events to the log
TRIM_S = 60.0  # between returns of freed memory to the system


def occupied_bandwidth(settings: WaveformSettings) -> float:
    """Of the signal, in Hz."""
    return settings.symbol_rate * (1 + settings.roll_off)


def radio_source(endpoint: Endpoint, radio: RadioSettings, settings: WaveformSettings, events: RadioEvents) -> FrontEnd:
    """The receiving end of a radio, set."""
    rate, occupied = settings.sample_rate, occupied_bandwidth(settings)
    if endpoint.kind == "usrp":
        return usrp_source(endpoint, radio, rate, events)
    if endpoint.kind == "pluto":
        return pluto_source(endpoint, radio, rate, occupied, events)
    return soapy_source(endpoint, radio, rate, occupied)


def radio_sink(endpoint: Endpoint, radio: RadioSettings, settings: WaveformSettings, events: RadioEvents) -> FrontEnd:
    """The sending end of a radio, set."""
    rate, occupied = settings.sample_rate, occupied_bandwidth(settings)
    if endpoint.kind == "usrp":
        return usrp_sink(endpoint, radio, rate, events)
    if endpoint.kind == "pluto":
        return pluto_sink(endpoint, radio, rate, occupied, events)
    return soapy_sink(endpoint, radio, rate, occupied)


class radio_transmitter(gr.top_block):
    """Encoder source, frame modulator, radio.

    Args:
        source: the frames to send, such as a ``djscc.campaign.sender.FrameSource``.
        endpoint, radio, settings: where to, and how.
        events: counts underruns and late bursts.
        repeat: send them again and again.
        on_frame: called with the header of each frame as its sending begins.
        queue_frames: frames that are made ahead at most.
    """

    def __init__(
        self,
        source: Iterable[Frame],
        endpoint: Endpoint,
        radio: RadioSettings,
        settings: WaveformSettings,
        events: RadioEvents,
        repeat: bool = False,
        on_frame: Callable[[FrameHeader], None] | None = None,
        queue_frames: int = 4,
    ) -> None:
        gr.top_block.__init__(self, "djscc transmitter")
        self._events = events
        self.front_end = radio_sink(endpoint, radio, settings, events)
        self.source = encoder_source(source, repeat, queue_frames, on_frame=on_frame)
        self.modulator = frame_modulator(settings, radio.filled_up_to(endpoint.kind))
        self.connect(self.source, self.modulator, *self.front_end.chain)
        _connect_messages(self, self.front_end)

    @property
    def frames(self) -> int:
        """Frames whose sending began."""
        return self.source.frames

    @property
    def samples(self) -> int:
        """Samples handed to the radio."""
        return int(self.modulator.nitems_written(0))

    def run_to_end(self, stop: Callable[[], bool]) -> None:
        """Send all frames, or end after the one being sent when ``stop`` says so; raises the error of a block that failed."""
        watch = _Watch(self._events, self.front_end.watch)

        def look() -> None:
            watch()
            if stop():
                self.source.end()

        try:
            run_to_end(self, (self.source, self.modulator), STALL_S, look)
            time.sleep(self.front_end.drain_s)
        finally:
            watch.close()


class radio_receiver(gr.top_block):
    """Radio, frame receiver, decoder sink.

    Args:
        sink: what takes the frames, such as a ``djscc.campaign.reception.FrameSink``.
        endpoint, radio, settings: where from, and how.
        events: counts overruns and frames that the decoder had no time for.
        frames: end after so many; 0 for never.
        queue_frames: frames that wait for the decoder at most; beyond, they are dropped and counted. None: as many as hold
            ``QUEUE_SYMBOLS`` payload symbols, so that a decoder slower than the radio catches up when the frames pause or end.
        tap: records the samples.
    """

    def __init__(
        self,
        sink: FrameTaker,
        endpoint: Endpoint,
        radio: RadioSettings,
        settings: WaveformSettings,
        events: RadioEvents,
        frames: int = 0,
        queue_frames: int | None = None,
        tap: SampleTap | None = None,
    ) -> None:
        gr.top_block.__init__(self, "djscc receiver")
        self._events = events

        def gap(sample: int, lost: int) -> None:
            events.add("overruns", endpoint.kind, sample, lost)

        self.front_end = radio_source(endpoint, radio, settings, events)
        self.receiver = frame_receiver(settings, frames, tap, gap, self.front_end.watch)
        self.sink = decoder_sink(
            sink,
            "drop",
            queue_frames or 1,
            on_drop=lambda frame: events.add("frames_dropped", "host"),
            queue_symbols=QUEUE_SYMBOLS if queue_frames is None else None,
        )
        status = getattr(self.front_end.watch, "__self__", None)
        if status is not None:
            status.on_overrun = self.receiver.overrun
        self.front_end.chain[-1].set_min_output_buffer(0, WAITING_SAMPLES)
        self.connect(*self.front_end.chain, self.receiver)
        for port in (0, 1):
            self.connect((self.receiver, port), (self.sink, port))
        _connect_messages(self, self.front_end)

    @property
    def counters(self) -> ReceiverCounters:
        """What the receiver has seen."""
        return self.receiver.counters

    def run_to_end(self, stop: Callable[[], bool]) -> None:
        """Receive until enough frames came or ``stop`` says so; raises the error of a block that failed."""
        watch = _Watch(self._events)

        def look() -> None:
            watch()
            if stop():
                self.receiver.end()

        try:
            run_to_end(self, (self.receiver, self.sink), STALL_S, look)
        finally:
            watch.close()


class _Watch:
    """What is done from time to time while a radio runs."""

    def __init__(self, events: RadioEvents, watch: Callable[[], None] | None = None) -> None:
        self._events, self._watch = events, watch
        spare_what_is_loaded()
        self._flushed = self._trimmed = time.monotonic()

    def __call__(self) -> None:
        if self._watch is not None:
            self._watch()
        if time.monotonic() - self._flushed > FLUSH_S:
            self._flushed = time.monotonic()
            self._events.flush()
        if time.monotonic() - self._trimmed > TRIM_S:
            self._trimmed = time.monotonic()
            return_freed_memory()

    def close(self) -> None:
        spare_no_more()
        self._events.flush()


def _connect_messages(flowgraph: gr.top_block, front_end: FrontEnd) -> None:
    for block, port, counter in front_end.messages:
        flowgraph.msg_connect(block, port, counter, "in")
    flowgraph.counters_of_messages = [counter for _, _, counter in front_end.messages]  # must live as long
