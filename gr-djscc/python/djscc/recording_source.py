# SPDX-License-Identifier: GPL-3.0-or-later
"""Source block: the samples of a recording, with the gaps that it knows of, to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pmt
from gnuradio import gr
from numpy.typing import NDArray

from djscc.errors import DjsccError
from djscc.radio import parse_endpoint
from djscc.radio.sigmf_files import Gap
from djscc.radio.streams import SampleSource, open_source

from .frame_receiver import RX_TIME
from .frame_tags import END
from .guard import WORK_DONE, guarded

Chunk = tuple[NDArray[np.complex64], bool]  # samples, and whether some were lost before them
SIGMF = (".sigmf-data", ".sigmf-meta")


class recording_source(gr.sync_block):
    """Samples of a recording. The last is tagged ``djscc_end``: a frame that the recording cuts off is received as far as it goes.

    Where it says that samples were lost, the next one is tagged with its time (``rx_time``), as a USRP does it, so that a frame
    receiver keeps what follows in its place. A recording that cannot be read to its end ends the flowgraph with the error, after
    what came before.

    Args:
        open_it: opens the recording, each time anew.
        repeat: begin again at the end, for ever.
    """

    def __init__(self, open_it: Callable[[], SampleSource], repeat: bool = False) -> None:
        gr.sync_block.__init__(self, "recording_source", None, [np.complex64])
        self.error: Exception | None = None
        self._open, self._repeat = open_it, repeat
        self._rate: float | None = open_it().settings.sample_rate  # refuses here what is not there
        self._failure: DjsccError | None = None
        self._chunks: Iterator[Chunk] = iter(())
        self._left = np.empty(0, np.complex64)
        self._following: Chunk | None = None
        self._lost = 0

    @classmethod
    def make(cls, recording: str, repeat: bool = False) -> recording_source:
        """A recording source from plain values; ``recording`` is a file of SigMF, or of complex float32 samples."""
        kind = "sigmf" if recording.endswith(SIGMF) else "file"
        endpoint = parse_endpoint(f"{kind}:{recording}", "recording")
        return cls(lambda: open_source(endpoint), repeat)

    def start(self) -> bool:
        self._lost, self._failure = 0, None
        self._left = np.empty(0, np.complex64)
        self._chunks = self._read()
        self._following = next(self._chunks, None)
        return True

    def _read(self) -> Iterator[Chunk]:
        while True:
            source, gap, empty = self._open(), False, True
            try:
                for item in source:
                    if isinstance(item, Gap):
                        self._lost += item.count
                        gap = True
                    elif isinstance(item, np.ndarray) and len(item):
                        yield item, gap
                        gap = empty = False
            except DjsccError as error:
                self._failure = error
                return
            finally:
                source.close()
            if empty or not self._repeat:
                return

    @guarded
    def work(self, _: list[NDArray[Any]], output_items: list[NDArray[Any]]) -> int:
        place = self.nitems_written(0)
        if not len(self._left):
            if self._following is None:
                if self._failure is not None:
                    raise self._failure
                return WORK_DONE
            self._left, gap = self._following
            if self._rate and (gap or place == 0):
                self.add_item_tag(0, place, RX_TIME, _time((place + self._lost) / self._rate))
            self._following = next(self._chunks, None)
        n = min(len(self._left), len(output_items[0]))
        output_items[0][:n] = self._left[:n]
        self._left = self._left[n:]
        if not len(self._left) and self._following is None:
            self.add_item_tag(0, place + n - 1, END, pmt.PMT_T)
        return n


def _time(seconds: float) -> Any:
    """As UHD tags it: whole seconds and a fraction."""
    whole = int(seconds)
    return pmt.make_tuple(pmt.from_uint64(whole), pmt.from_double(seconds - whole))
