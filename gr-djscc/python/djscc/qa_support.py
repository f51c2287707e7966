# SPDX-License-Identifier: GPL-3.0-or-later
"""What the QA files share: frames of random symbols, and what stands at either end of the block that is tested."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pmt
from gnuradio import gr
from numpy.typing import NDArray

from djscc.waveform import FrameHeader, FrameReport, ReceivedFrame

REPORT = FrameReport(7, 0.25, 120.0, 0.0, 1.5, -0.5, 0.1, snr_db=9.0, lost_samples=0, erased=0.0)


def random_frames(
    count: int, tiles: int = 2, layers: int = 3, seed: int = 1
) -> list[tuple[FrameHeader, NDArray[np.complex64]]]:
    """Frames of ``tiles * layers * 64`` unit-power symbols, as a codec would make of tiles of 64 x 64."""
    generator = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        header = FrameHeader(
            codec_id=0xFEDCBA98,
            scene_id=0x12345678,
            frame_number=number,
            tile_index=number * tiles,
            tiles_total=count * tiles,
            layers=(layers,) * tiles,
            symbols_per_layer=64,
            tile_height=64,
            tile_width=64,
            bands=3,
            seed=number,
        )
        parts = generator.standard_normal((2, header.payload_symbols)) / np.sqrt(2)
        frames.append((header, (parts[0] + 1j * parts[1]).astype(np.complex64)))
    return frames


class Collector:
    """Stands for a FrameSink: keeps frames, and takes ``delay_s`` for each."""

    def __init__(self, delay_s: float = 0.0, fail_at: int | None = None) -> None:
        self.frames: list[ReceivedFrame] = []
        self.latest: NDArray[np.uint8] | None = None
        self._delay_s, self._fail_at = delay_s, fail_at

    def accept(self, frame: ReceivedFrame) -> dict[str, Any]:
        time.sleep(self._delay_s)
        if len(self.frames) == self._fail_at:
            raise RuntimeError("the decoder broke")
        self.frames.append(frame)
        header = frame.header
        self.latest = np.full((header.tile_count, header.tile_height, header.tile_width, header.bands), 9, np.uint8)
        tiles = [{"index": i, "psnr_db": 30.0 + i} for i in range(header.tile_count)]
        return {"frame_number": header.frame_number, "snr_est_db": frame.report.snr_db, "cfo_hz": None, "tiles": tiles}

    @property
    def numbers(self) -> list[int]:
        return [frame.header.frame_number for frame in self.frames]

    def close(self) -> None:
        """Nothing to write."""


class MessageCollector(gr.basic_block):
    """Keeps the messages that come to its port ``in``."""

    def __init__(self) -> None:
        gr.basic_block.__init__(self, "message collector", None, None)
        self.messages: list[Any] = []
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.keep)

    def keep(self, message: Any) -> None:
        self.messages.append(message)


class TaggedSource(gr.sync_block):
    """A stream of items with tags (offset, key, value); vector_source gives tagged items in one piece only."""

    def __init__(self, items: NDArray[Any], tags: Sequence[tuple[int, Any, Any]] = ()) -> None:
        gr.sync_block.__init__(self, "tagged source", None, [items.dtype.type])
        self._items, self._tags, self._given = items, tags, 0

    def work(self, _: list[NDArray[Any]], output_items: list[NDArray[Any]]) -> int:
        part = self._items[self._given : self._given + len(output_items[0])]
        if not len(part):
            return -1
        output_items[0][: len(part)] = part
        for offset, key, value in self._tags:
            if self._given <= offset < self._given + len(part):
                self.add_item_tag(0, offset, key, value)
        self._given += len(part)
        return len(part)


def tags_of(sink: Any, key: Any) -> list[tuple[int, Any]]:
    """(offset, value) of the tags with this key that a vector sink got."""
    return [(tag.offset, tag.value) for tag in sink.tags() if pmt.eq(tag.key, key)]
