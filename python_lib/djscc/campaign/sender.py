# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transmitter sends: tiles, encoded and grouped into frames that describe themselves."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from djscc.codec import Codec
from djscc.imagery import TileSet
from djscc.timing import in_network
from djscc.waveform import FrameHeader
from djscc.waveform.header import coded_symbols


class FrameSource:
    """An iterable of (header, payload): the frames of one scene, encoded as they are asked for.

    Args:
        tiles: what to send.
        codec: the codec whose encoder is used.
        layers: layers of symbols to send of each tile; their mean where ``by_content``.
        told_snr_db: the Es/N0 that the encoder is told, or None.
        tiles_per_frame: tiles in one frame (the last may hold fewer).
        image_size: height and width of the image that the tiles were cut from; (0, 0) when they are images of their own.
        first_frame: number of the first frame.
        by_content: give busy tiles more layers and flat ones fewer, for the least squared error ("mse", or True) or the best mean
            of the tiles' PSNRs ("psnr"); False gives all the same. The header's table of layers is paid for out of the
            frame's budget, so that the ratio and the time on air stay those of equal layers.
        repeat: send all tiles so many times.
        scene: the 32-bit name of the tiles, where it is known already.
    """

    def __init__(
        self,
        tiles: TileSet,
        codec: Codec,
        layers: int,
        told_snr_db: float | None = None,
        tiles_per_frame: int = 64,
        image_size: tuple[int, int] = (0, 0),
        first_frame: int = 0,
        by_content: bool | str = False,
        repeat: int = 1,
        scene: int | None = None,
    ) -> None:
        if tiles_per_frame < 1:
            raise ValueError(f"{tiles_per_frame} tiles in a frame: at least 1")
        self.tiles, self.codec, self.layers, self.told_snr_db = tiles, codec, layers, told_snr_db
        self.tiles_per_frame, self.image_size, self.first_frame = tiles_per_frame, image_size, first_frame
        if isinstance(by_content, bool):
            by_content = "mse" if by_content else ""
        self.objective = by_content  # empty: all tiles alike
        self.repeat = repeat
        self.scene_id = scene_id(tiles.images) if scene is None else scene

    def __len__(self) -> int:
        return self.repeat * -(-len(self.tiles) // self.tiles_per_frame)

    def number(self, index: int) -> int:
        """The frame number that frame ``index`` carries; it wraps at 2^16."""
        return (self.first_frame + index) & 0xFFFF

    def header(self, index: int) -> FrameHeader:
        """The header of frame ``index``, counted over all repetitions."""
        first = index % (len(self) // self.repeat) * self.tiles_per_frame
        count = min(self.tiles_per_frame, len(self.tiles) - first)
        _, height, width, bands = self.tiles.images.shape
        number = self.number(index)
        return FrameHeader(
            codec_id=self.codec.id,
            scene_id=self.scene_id,
            frame_number=number,
            tile_index=first,
            tiles_total=len(self.tiles),
            layers=tuple(self._layers(first, count)),
            symbols_per_layer=self.codec.symbols_per_layer(height, width),
            tile_height=height,
            tile_width=width,
            bands=bands,
            image_height=self.image_size[0],
            image_width=self.image_size[1],
            seed=number,
        )

    def _layers(self, first: int, count: int) -> list[int]:
        if not self.objective or count == 1:
            return [self.layers] * count
        _, height, width, _ = self.tiles.images.shape
        widest = self.codec.layers - self.codec.rate_model.layers[0]
        table = -(-coded_symbols(count * widest.bit_length()) // self.codec.symbols_per_layer(height, width))
        part = self.tiles.images[first : first + count]
        budget = self.layers * count - table
        if budget < self.codec.rate_model.layers[0] * count:  # equal layers need no table
            return [self.layers] * count
        return self.codec.rate_model.allocate(part, budget, self.told_snr_db, self.objective).tolist()

    def __iter__(self) -> Iterator[tuple[FrameHeader, NDArray[np.complex64]]]:
        for index in range(len(self)):
            header = self.header(index)
            yield header, self.payload(header)

    def payload(self, header: FrameHeader) -> NDArray[np.complex64]:
        """The symbols of a frame's tiles, one tile after the other."""
        part = self.tiles.images[header.tile_index : header.tile_index + header.tile_count]
        layers = np.array(header.layers)
        symbols: dict[int, NDArray[np.complex64]] = {}
        for number in np.unique(layers):
            chosen = np.flatnonzero(layers == number)
            with in_network():
                encoded = self.codec.encode(part[chosen], int(number), self.told_snr_db)
            symbols |= dict(zip(chosen.tolist(), encoded, strict=True))
        return np.concatenate([symbols[i] for i in range(len(part))])


def scene_id(images: NDArray[np.uint8]) -> int:
    """The 32-bit name of a set of tiles: the CRC-32 of their samples."""
    return zlib.crc32(images.tobytes())
