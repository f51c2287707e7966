# SPDX-License-Identifier: GPL-3.0-or-later
"""Modulator block: frames of symbols in, samples of the waveform out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from djscc.waveform import FrameHeader, Modulator, WaveformSettings

from .frame_tags import FRAME, read_header
from .stream_block import Piece, StreamBlock

SOB = pmt.intern("tx_sob")
EOB = pmt.intern("tx_eob")


class frame_modulator(StreamBlock):
    """Modulates each frame that a ``djscc_frame`` tag begins; adds the silence that the receiver needs after the last.

    The first sample of each frame is tagged ``tx_sob`` and the last ``tx_eob``, which make it a burst for a USRP: between frames
    that come late the transmitter is off, and no underrun occurs.

    Args:
        settings: the waveform.
        multiple: fill each frame up with silence to a multiple of so many samples. A Pluto sends whole buffers only.
    """

    def __init__(self, settings: WaveformSettings | None = None, multiple: int = 1) -> None:
        if multiple < 1:
            raise ValueError(f"frames filled up to a multiple of {multiple} samples: give 1 or more")
        StreamBlock.__init__(self, "frame_modulator", [np.complex64])
        self._modulator = Modulator(settings)
        self._multiple = multiple
        self._header: FrameHeader | None = None
        self._symbols: list[NDArray[np.complex64]] = []
        self._missing = 0

    @classmethod
    def make(
        cls,
        symbol_rate: float = 1e6,
        samples_per_symbol: int = 2,
        roll_off: float = 0.25,
        back_off_db: float = 9.0,
        multiple: int = 1,
    ) -> frame_modulator:
        """A frame modulator from plain values."""
        return cls(WaveformSettings(symbol_rate, samples_per_symbol, roll_off, back_off_db), multiple)

    def take(self, items: NDArray[np.complex64], tags: Sequence[tuple[int, Any, Any]]) -> Iterator[Piece]:
        starts = {place: read_header(value) for place, key, value in tags if pmt.eq(key, FRAME)}
        at = 0
        while at < len(items):
            if self._header is None:
                if at not in starts:
                    raise ValueError(
                        f"symbol {self.nitems_read(0) + at} belongs to no frame: each frame's first symbol needs a djscc_frame "
                        "tag with its header, as encoder_source gives it"
                    )
                self._header = starts[at]
                self._missing = self._header.payload_symbols
            part = items[at : at + self._missing].copy()
            self._symbols.append(part)
            self._missing -= len(part)
            at += len(part)
            if not self._missing:
                yield self._burst(self._modulator.modulate(self._header, np.concatenate(self._symbols)))
                self._header, self._symbols = None, []

    def finish(self) -> Iterator[Piece]:
        yield self._burst(self._modulator.guard())

    def _burst(self, samples: NDArray[np.complex64]) -> Piece:
        silence = np.zeros(-len(samples) % self._multiple, np.complex64)
        return Piece((np.concatenate([samples, silence]),), ((SOB, pmt.PMT_T),), ((EOB, pmt.PMT_T),))
