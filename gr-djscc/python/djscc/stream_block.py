# SPDX-License-Identifier: GPL-3.0-or-later
"""The block that frame_modulator, channel and frame_receiver are: a stream in, what a library class makes of it out.

The number of items out follows from no ratio, and what one call makes may be more than the output buffer holds: so it waits in a
list and goes out as there is room, and nothing is taken in meanwhile. That is back pressure without tagged streams, for frames
of any length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from gnuradio import gr
from numpy.typing import NDArray

from .frame_tags import END
from .guard import WORK_DONE, guarded

OUTPUT_ITEMS = 1 << 16  # of one call; the scheduler's own 4096 would change threads every few milliseconds


@dataclass
class Piece:
    """Items to send, the same number on each output port; ``tags`` and ``end_tags`` are (key, value) for the first and the last."""

    items: tuple[NDArray[Any], ...]
    tags: tuple[tuple[Any, Any], ...] = ()
    end_tags: tuple[tuple[Any, Any], ...] = ()


class StreamBlock(gr.basic_block):
    """One complex stream in. A subclass says what comes of it (``take``) and what is left at the end (``finish``)."""

    def __init__(self, name: str, outputs: Sequence[type]) -> None:
        gr.basic_block.__init__(self, name, [np.complex64], list(outputs))
        self.set_tag_propagation_policy(gr.TPP_DONT)
        for port in range(len(outputs)):
            self.set_min_output_buffer(port, 2 * OUTPUT_ITEMS)
        self.error: Exception | None = None
        self._waiting: deque[Piece] = deque()
        self._ended = False
        self._ending = False

    def take(self, items: NDArray[np.complex64], tags: Sequence[tuple[int, Any, Any]]) -> Iterable[Piece]:
        """What comes of these items; ``tags`` are (place among them, key, value). The items must be copied to be kept."""
        raise NotImplementedError

    def finish(self) -> Iterable[Piece]:
        """What is left when the stream has ended."""
        return ()

    def forecast(self, noutput_items: int, ninputs: int) -> list[int]:
        """No input is needed as long as something waits, or to end: where none comes any more, this alone has the block called."""
        return [0 if self._waiting or self._ended else 1] * ninputs

    def end(self) -> None:
        """End the stream here, as if this were all of the input; may be called from any thread."""
        self._ending = True

    @guarded
    def general_work(self, input_items: list[NDArray[Any]], output_items: list[NDArray[Any]]) -> int:
        if self._ended and not self._waiting:
            return WORK_DONE
        if not self._waiting:
            self._take_in(input_items[0])
        return self._give_out(output_items)

    def _take_in(self, items: NDArray[np.complex64]) -> None:
        start = self.nitems_read(0)
        tags = [(tag.offset - start, tag.key, tag.value) for tag in self.get_tags_in_window(0, 0, len(items))]
        tags.sort(key=lambda tag: tag[0])
        self._waiting.extend(piece for piece in self.take(items, tags) if len(piece.items[0]))
        if self._ending or any(pmt.eq(key, END) for _, key, _ in tags):
            self._waiting.extend(piece for piece in self.finish() if len(piece.items[0]))
            self._ended = True
        self.consume(0, len(items))

    def _give_out(self, outputs: list[NDArray[Any]]) -> int:
        room, given = len(outputs[0]), 0
        while self._waiting and given < room:
            piece = self._waiting[0]
            n = min(room - given, len(piece.items[0]))
            for output, items in zip(outputs, piece.items, strict=True):
                output[given : given + n] = items[:n]
            place = self.nitems_written(0) + given
            for tag in piece.tags:
                self.add_item_tag(0, place, *tag)
            given += n
            if n == len(piece.items[0]):
                for tag in piece.end_tags:
                    self.add_item_tag(0, place + n - 1, *tag)
                self._waiting.popleft()
            else:
                self._waiting[0] = Piece(tuple(items[n:] for items in piece.items), (), piece.end_tags)
        if self._ended and given and not self._waiting:
            self.add_item_tag(0, self.nitems_written(0) + given - 1, END, pmt.PMT_T)
        return given
