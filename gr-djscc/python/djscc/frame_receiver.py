# SPDX-License-Identifier: GPL-3.0-or-later
"""Receiver block: finds frames in samples; gives their symbols, each with the variance of its noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pmt
from numpy.typing import NDArray

from djscc.waveform import ReceivedFrame, Receiver, ReceiverCounters, WaveformSettings

from .frame_tags import FRAME, frame_tag, to_pmt
from .stream_block import Piece, StreamBlock

INFO = pmt.intern("info")
RX_TIME = pmt.intern("rx_time")


class SampleTap(Protocol):
    """What records a stream, such as a ``djscc.radio.sigmf_files.Recorder``."""

    def write(self, samples: NDArray[np.complex64]) -> None:
        """The next samples; they must be copied to be kept."""

    def gap(self, count: int) -> None:
        """So many samples were lost here."""

    def overrun(self, first: int, last: int) -> None:
        """Some were lost somewhere between these two places."""


class frame_receiver(StreamBlock):
    """Finds, corrects and tracks frames. Their symbols come out with their noise variance, infinite where not received.

    The first symbol of each frame is tagged ``djscc_frame`` with header and report; message port ``info`` gets the same, and
    the receiver's counters, as a dict.

    A USRP tags samples with their time (``rx_time``) after it lost some: as many are put in as silence, so that what follows
    stays in its place, and what they held is erased.

    Args:
        settings: the waveform.
        frames: end the flowgraph after so many frames; 0 for never.
        tap: gets all samples as they come, and the gaps between them, to record them.
        on_gap: called with place and number of samples lost, for each gap.
        before: called before samples are taken; it may say ``overrun`` of them, in time for their frames.
    """

    def __init__(
        self,
        settings: WaveformSettings | None = None,
        frames: int = 0,
        tap: SampleTap | None = None,
        on_gap: Callable[[int, int], None] | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        StreamBlock.__init__(self, "frame_receiver", [np.complex64, np.float32])
        self._receiver = Receiver(settings or WaveformSettings())
        self._frames, self._tap, self._on_gap, self._before = frames, tap, on_gap, before
        self._given = 0
        self._clock: tuple[int, float, int] | None = (
            None  # seconds, their fraction, and the item that was tagged with them
        )
        self.message_port_register_out(INFO)

    @classmethod
    def make(
        cls, symbol_rate: float = 1e6, samples_per_symbol: int = 2, roll_off: float = 0.25, frames: int = 0
    ) -> frame_receiver:
        """A frame receiver from plain values."""
        return cls(WaveformSettings(symbol_rate, samples_per_symbol, roll_off), frames)

    @property
    def counters(self) -> ReceiverCounters:
        """What the receiver has seen since its start."""
        return self._receiver.counters

    @property
    def position(self) -> int:
        """How far the stream has come, in samples, those lost included."""
        return self._receiver.position

    def overrun(self, first: int, last: int) -> None:
        """Some samples were lost between these two places; may be called from any thread."""
        self._receiver.overrun(first, last)
        if self._tap is not None:
            self._tap.overrun(first, last)

    def take(self, items: NDArray[np.complex64], tags: Sequence[tuple[int, Any, Any]]) -> Iterator[Piece]:
        if self._before is not None:
            self._before()
        done = 0
        for place, key, value in tags:
            if pmt.eq(key, RX_TIME):
                yield from self._push(items[done:place])
                done = place
                lost = self._lost(place, value)
                if lost > 0:
                    if self._on_gap is not None:
                        self._on_gap(self.position, lost)
                    if self._tap is not None:
                        self._tap.gap(lost)
                    yield from self._pieces(self._receiver.skip(lost))
        yield from self._push(items[done:])

    def _push(self, items: NDArray[np.complex64]) -> Iterator[Piece]:
        if self._tap is not None and len(items):
            self._tap.write(items)
        return self._pieces(self._receiver.push(items))

    def _lost(self, place: int, value: Any) -> int:
        """Samples missing before the one at ``place``, by its time and that of the last one tagged; not above 0 if none are."""
        item = self.nitems_read(0) + place
        seconds, fraction = pmt.to_uint64(pmt.tuple_ref(value, 0)), pmt.to_double(pmt.tuple_ref(value, 1))
        before, self._clock = self._clock, (seconds, fraction, item)
        if before is None:
            return 0
        elapsed = (seconds - before[0]) + (fraction - before[1])
        return round(elapsed * self._receiver.settings.sample_rate) - (item - before[2])

    def finish(self) -> Iterator[Piece]:
        return self._pieces(self._receiver.flush())

    def _pieces(self, frames: Iterable[ReceivedFrame]) -> Iterator[Piece]:
        for frame in frames:
            if self._given == self._frames > 0:
                return
            self._given += 1
            if self._given == self._frames:
                self.end()
            info = {"header": frame.header.to_dict(), "report": frame.report.to_dict()}
            self.message_port_pub(INFO, to_pmt(info | {"counters": self.counters.to_dict()}))
            variance = np.where(frame.received, frame.noise_variance, np.float32(np.inf)).astype(np.float32)
            yield Piece((frame.symbols, variance), ((FRAME, frame_tag(frame.header, frame.report)),))
