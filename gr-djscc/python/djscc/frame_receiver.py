# SPDX-License-Identifier: GPL-3.0-or-later
"""Receiver block: finds frames in samples; gives their symbols, each with the variance of its noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from djscc.waveform import ReceivedFrame, Receiver, ReceiverCounters, WaveformSettings

from .frame_tags import FRAME, frame_tag, to_pmt
from .stream_block import Piece, StreamBlock

INFO = pmt.intern("info")


class frame_receiver(StreamBlock):
    """Finds, corrects and tracks frames. Their symbols come out with their noise variance, infinite where not received.

    The first symbol of each frame is tagged ``djscc_frame`` with header and report; message port ``info`` gets the same, and
    the receiver's counters, as a dict.

    Args:
        settings: the waveform.
    """

    def __init__(self, settings: WaveformSettings | None = None) -> None:
        StreamBlock.__init__(self, "frame_receiver", [np.complex64, np.float32])
        self._receiver = Receiver(settings or WaveformSettings())
        self.message_port_register_out(INFO)

    @classmethod
    def make(cls, symbol_rate: float = 1e6, samples_per_symbol: int = 2, roll_off: float = 0.25) -> frame_receiver:
        """A frame receiver from plain values."""
        return cls(WaveformSettings(symbol_rate, samples_per_symbol, roll_off))

    @property
    def counters(self) -> ReceiverCounters:
        """What the receiver has seen since its start."""
        return self._receiver.counters

    def take(self, items: NDArray[np.complex64], tags: Sequence[tuple[int, Any, Any]]) -> Iterator[Piece]:
        return self._pieces(self._receiver.push(items))

    def finish(self) -> Iterator[Piece]:
        return self._pieces(self._receiver.flush())

    def _pieces(self, frames: Iterable[ReceivedFrame]) -> Iterator[Piece]:
        for frame in frames:
            info = {"header": frame.header.to_dict(), "report": frame.report.to_dict()}
            self.message_port_pub(INFO, to_pmt(info | {"counters": self.counters.to_dict()}))
            variance = np.where(frame.received, frame.noise_variance, np.float32(np.inf)).astype(np.float32)
            yield Piece((frame.symbols, variance), (FRAME, frame_tag(frame.header, frame.report)))
