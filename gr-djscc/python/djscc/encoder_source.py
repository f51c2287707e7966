# SPDX-License-Identifier: GPL-3.0-or-later
"""Source block: images, encoded to frames of complex symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pmt
from gnuradio import gr
from numpy.typing import NDArray

from djscc.waveform import FrameHeader

from .frame_tags import END, FRAME, frame_tag
from .guard import WORK_DONE, guarded
from .image_message import IMAGE, image_message
from .worker import Producer

Frame = tuple[FrameHeader, NDArray[np.complex64]]


class encoder_source(gr.sync_block):
    """Sends the symbols of frames: the first of each is tagged ``djscc_frame`` with its header, the last of all ``djscc_end``.

    The frames are made in a thread of their own, up to ``queue_frames`` ahead of the one that is being sent.

    Message port ``image`` shows what is sent.

    Args:
        source: frames as (header, payload), such as a ``djscc.campaign.sender.FrameSource``.
        repeat: begin again at the end, for ever; frames are numbered on.
        queue_frames: how many frames are made ahead of time.
        tiles: the images (N, H, W, C) that the frames are made of, if message port ``image`` is to show each as it is sent.
        on_frame: called with the header of each frame as its sending begins; those made ahead may never be sent.
    """

    def __init__(
        self,
        source: Iterable[Frame],
        repeat: bool = False,
        queue_frames: int = 2,
        tiles: NDArray[np.uint8] | None = None,
        on_frame: Callable[[FrameHeader], None] | None = None,
    ) -> None:
        gr.sync_block.__init__(self, "encoder_source", None, [np.complex64])
        self.error: Exception | None = None
        self._source, self._repeat = source, repeat
        self._producer = Producer(self._frames, queue_frames)
        self._failure: Exception | None = None
        self._ending = False
        self.frames = 0  # begun
        self._next: Frame | None = None
        self._tag: Any = None
        self._left = np.empty(0, np.complex64)
        self._tiles, self._on_frame = tiles, on_frame
        self.message_port_register_out(IMAGE)

    @classmethod
    def make(
        cls,
        data: str = "landsat",
        codec: str = "adaptive",
        ratio: str | float = "1/12",
        told_snr_db: float | None = None,
        tiles_per_frame: int = 64,
        repeat: bool = False,
    ) -> encoder_source:
        """An encoder source from plain values; ``data`` is a folder of tiles, an image of any size, or ``landsat``."""
        from djscc.campaign import parse_ratio
        from djscc.campaign.scenes import read_scene
        from djscc.campaign.sender import FrameSource
        from djscc.codec import load_codec

        encoder = load_codec(codec)
        layers = encoder.layers_for_ratio(parse_ratio(ratio))
        tiles, image_size = read_scene(data, bands=encoder.bands)
        source = FrameSource(tiles, encoder, layers, told_snr_db, tiles_per_frame, image_size)
        return cls(source, repeat, tiles=tiles.images)

    def _frames(self) -> Iterator[Frame]:
        if not self._repeat:
            yield from self._source
        numbers = count()
        while self._repeat:
            for header, payload in self._source:
                yield replace(header, frame_number=next(numbers) & 0xFFFF), payload

    def start(self) -> bool:
        self._producer.start()
        return True

    def stop(self) -> bool:
        self._producer.stop()
        return True

    @guarded
    def work(self, _: list[NDArray[Any]], output_items: list[NDArray[Any]]) -> int:
        if not len(self._left) and not self._begin(self._take()):
            if self._failure is not None:
                raise self._failure
            return WORK_DONE if self._exhausted else 0
        n = min(len(self._left), len(output_items[0]))
        if n == len(self._left) and self._next is None:
            # only what follows tells whether this frame's last symbol is the last of all: it waits, the others do not
            if n > 1:
                n -= 1
            else:
                self._next = self._take()
                if self._next is None and self._failure is None and not self._exhausted:
                    return 0
        output_items[0][:n] = self._left[:n]
        place = self.nitems_written(0)
        if self._tag is not None:
            self.add_item_tag(0, place, FRAME, self._tag)
            self._tag = None
        self._left = self._left[n:]
        if not len(self._left) and not self._begin(self._next):
            self.add_item_tag(0, place + n - 1, END, pmt.PMT_T)
        return n

    def end(self) -> None:
        """End the stream after the frame that is being sent; may be called from any thread."""
        self._ending = True

    @property
    def _exhausted(self) -> bool:
        return self._ending or self._producer.exhausted

    def _take(self) -> Frame | None:
        """The next frame, if there is one yet. An error of the encoder ends the stream, after what came before it."""
        if self._ending:
            return None
        try:
            return self._producer.take()
        except Exception as error:
            self._failure = error
            return None

    def _begin(self, frame: Frame | None) -> bool:
        self._next = None
        if frame is None:
            return False
        header, self._left = frame
        self.frames += 1
        self._tag = frame_tag(header)
        if self._on_frame is not None:
            self._on_frame(header)
        if self._tiles is not None and not pmt.is_null(self.message_subscribers(IMAGE)):
            tiles = self._tiles[header.tile_index : header.tile_index + header.tile_count]
            self.message_port_pub(IMAGE, image_message(header, tiles, {}))
        return True
