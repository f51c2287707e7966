# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame's self-description: fields, their bits, and the strongly coded symbols that carry them.

A header of 240 bits (CRC-32 included) goes with every frame. Where tiles differ in their layers, or the tile shape is not
one of the common ones, an extension follows, coded alike and with a CRC-32 of its own.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from djscc.waveform.convolutional import TAIL_BITS, decode, encode, invert
from djscc.waveform.format import (
    BOOST,
    FORMAT_VERSION,
    MAX_PAYLOAD_SYMBOLS,
    MAX_TILES,
    Bits,
    Complex,
    WaveformError,
    header_mask,
)

CRC_BITS = 32
COPIES = 10  # coded bits per bit: the six outputs of the code, then the first four again

_PATCH = 8  # common shape: symbols_per_layer is one per patch of 8 x 8 pixels
_SIDES = (8, 16, 32, 64, 128, 256, 512, 1024)
_BANDS = (1, 3, 4, 8)

_BASE_WIDTHS = {
    "version": 4,
    "codec_id": 32,
    "scene_id": 32,
    "frame_number": 16,
    "tile_index": 24,
    "tiles_total": 24,
    "tile_count_less_1": 10,
    "layers_least": 8,
    "table_width": 4,  # bits of each tile's layers above the least; 0: all tiles are alike and there is no table
    "shape_explicit": 1,
    "side_code": 3,
    "bands_code": 2,
    "image_height": 16,
    "image_width": 16,
    "seed": 16,
}
_SHAPE_WIDTHS = {"symbols_per_layer": 16, "tile_height": 16, "tile_width": 16, "bands": 8}
_FIELD_BITS = {
    "codec_id": 32,
    "scene_id": 32,
    "frame_number": 16,
    "tile_index": 24,
    "tiles_total": 24,
    "symbols_per_layer": 16,
    "tile_height": 16,
    "tile_width": 16,
    "bands": 8,
    "image_height": 16,
    "image_width": 16,
    "seed": 16,
}
_AT_LEAST_1 = {"tiles_total", "symbols_per_layer", "tile_height", "tile_width", "bands"}

BASE_BITS = sum(_BASE_WIDTHS.values())


@dataclass(frozen=True)
class FrameHeader:
    """What a receiver must know to put the payload of one frame in its place.

    codec_id           32 bit, from the hash of the codec's weights.
    scene_id           32 bit: the image or set of tiles.
    frame_number       16 bit counter that wraps; its gaps tell of lost frames.
    tile_index         24 bit: the scene's number of this frame's first tile.
    tiles_total        24 bit: tiles of the scene.
    layers             layers sent of each tile of this frame: 1 to 1024 tiles, 1 to 255 each.
    symbols_per_layer  16 bit.
    tile_height, tile_width (16 bit, pixels), bands (8 bit): shape of a tile.
    image_height, image_width (16 bit): the image that the tiles make up; 0 where each tile is an image by itself.
    seed               16 bit, of scrambler and interleaver.
    """

    codec_id: int
    scene_id: int
    frame_number: int
    tile_index: int
    tiles_total: int
    layers: tuple[int, ...]
    symbols_per_layer: int
    tile_height: int
    tile_width: int
    bands: int
    image_height: int = 0
    image_width: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, bits in _FIELD_BITS.items():
            value = getattr(self, name)
            least = 1 if name in _AT_LEAST_1 else 0
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value < 2**bits:
                raise WaveformError(f"{name} is {value!r}: give a whole number from {least} to {2**bits - 1}")
            object.__setattr__(self, name, int(value))
        if not 1 <= len(self.layers) <= MAX_TILES:
            raise WaveformError(f"layers are given for {len(self.layers)} tiles: a frame carries 1 to {MAX_TILES}")
        if not all(1 <= n <= 255 for n in self.layers):
            raise WaveformError(f"layers are {min(self.layers)} to {max(self.layers)}: give 1 to 255 for each tile")
        object.__setattr__(self, "layers", tuple(int(n) for n in self.layers))
        if self.tile_index + self.tile_count > self.tiles_total:
            raise WaveformError(
                f"tiles {self.tile_index} to {self.tile_index + self.tile_count - 1} do not lie in a scene of "
                f"{self.tiles_total}: lower tile_index or raise tiles_total"
            )
        if self.payload_symbols > MAX_PAYLOAD_SYMBOLS:
            raise WaveformError(
                f"the payload has {self.payload_symbols} symbols, more than the {MAX_PAYLOAD_SYMBOLS} of one frame: "
                "put fewer tiles in a frame"
            )

    @property
    def tile_count(self) -> int:
        """Tiles of this frame."""
        return len(self.layers)

    @property
    def payload_symbols(self) -> int:
        """Complex payload symbols of this frame."""
        return sum(self.layers) * self.symbols_per_layer

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, ready for JSON; ``from_dict`` takes them back."""
        return {**asdict(self), "layers": list(self.layers)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FrameHeader:
        """The header with these fields; a missing or unknown field is a WaveformError."""
        names = {f.name for f in fields(cls)}
        wrong = names.symmetric_difference(values) - {"image_height", "image_width", "seed"}
        if wrong:
            raise WaveformError(f"header fields {sorted(wrong)} are missing or unknown: give {sorted(names)}")
        return cls(**{**values, "layers": tuple(values["layers"])})


@dataclass(frozen=True)
class BaseHeader:
    """The fixed part of a header as received: its raw fields, and how long an extension it announces."""

    values: dict[str, int]

    @property
    def extension_bits(self) -> int:
        """Bits of the extension without CRC; 0 where there is none."""
        table = (self.values["tile_count_less_1"] + 1) * self.values["table_width"]
        return table + self.values["shape_explicit"] * sum(_SHAPE_WIDTHS.values())

    @property
    def extension_symbols(self) -> int:
        """Symbols of the extension on the air."""
        return coded_symbols(self.extension_bits) if self.extension_bits else 0


def _pack(values: dict[str, int], widths: dict[str, int]) -> Bits:
    text = "".join(format(values[name], f"0{width}b") for name, width in widths.items())
    return np.frombuffer(text.encode(), np.uint8) & np.uint8(1)


def _unpack(bits: Bits, widths: dict[str, int]) -> dict[str, int]:
    values, at = {}, 0
    for name, width in widths.items():
        values[name] = int("".join(map(str, bits[at : at + width])), 2)
        at += width
    return values


def _shape(header: FrameHeader) -> tuple[int, int] | None:
    """The side and bands codes of a common shape, or None."""
    side, bands = header.tile_height, header.bands
    common = side == header.tile_width and side in _SIDES and bands in _BANDS
    if common and header.symbols_per_layer == (side // _PATCH) ** 2:
        return _SIDES.index(side), _BANDS.index(bands)
    return None


def header_bits(header: FrameHeader) -> tuple[Bits, Bits]:
    """Bits of the base header and of its extension (empty where there is none), without CRC."""
    shape = _shape(header)
    least = min(header.layers)
    table_width = (max(header.layers) - least).bit_length()
    values = {
        **asdict(header),
        "version": FORMAT_VERSION,
        "tile_count_less_1": header.tile_count - 1,
        "layers_least": least,
        "table_width": table_width,
        "shape_explicit": int(shape is None),
        "side_code": shape[0] if shape else 0,
        "bands_code": shape[1] if shape else 0,
    }
    extension = [] if shape else [_pack(values, _SHAPE_WIDTHS)]
    if table_width:
        above = np.array(header.layers, np.int64) - least
        table = (above[:, None] >> np.arange(table_width)[::-1]) & 1
        extension.append(table.astype(np.uint8).ravel())
    return _pack(values, _BASE_WIDTHS), np.concatenate([np.zeros(0, np.uint8), *extension])


def parse_base(bits: Bits) -> BaseHeader | None:
    """The base header in bits whose CRC held, or None where no transmitter of this format sends such values."""
    values = _unpack(bits, _BASE_WIDTHS)
    if values["version"] != FORMAT_VERSION or values["table_width"] > 8 or values["layers_least"] == 0:
        return None
    if values["tile_index"] + values["tile_count_less_1"] + 1 > values["tiles_total"]:
        return None
    return BaseHeader(values)


def parse_header(base: BaseHeader, extension: Bits) -> FrameHeader | None:
    """The header in a base and the bits of its extension, or None where the values contradict one another."""
    values = dict(base.values)
    count = values["tile_count_less_1"] + 1
    if values["shape_explicit"]:
        shape = _unpack(extension, _SHAPE_WIDTHS)
    else:
        side = _SIDES[values["side_code"]]
        shape = {
            "symbols_per_layer": (side // _PATCH) ** 2,
            "tile_height": side,
            "tile_width": side,
            "bands": _BANDS[values["bands_code"]],
        }
    layers = np.full(count, values["layers_least"], np.int64)
    width = values["table_width"]
    if width:
        layers += extension[-count * width :].reshape(count, width) @ (1 << np.arange(width)[::-1])
    names = {f.name for f in fields(FrameHeader)}
    try:
        return FrameHeader(layers=tuple(layers.tolist()), **shape, **{k: v for k, v in values.items() if k in names})
    except WaveformError:
        return None


def coded_symbols(bits: int) -> int:
    """Symbols on the air of a block of so many bits, CRC and tail counted."""
    return math.ceil((bits + CRC_BITS + TAIL_BITS) * COPIES / 2)


HEADER_SYMBOLS = coded_symbols(BASE_BITS)


def _crc(bits: Bits) -> Bits:
    crc = zlib.crc32(np.packbits(bits).tobytes())
    return np.unpackbits(np.frombuffer(crc.to_bytes(4, "big"), np.uint8))


def encode_block(bits: Bits) -> Complex:
    """QPSK symbols of amplitude BOOST that carry ``bits`` and their CRC-32; ``coded_symbols(len(bits))`` of them."""
    coded = encode(
        np.concatenate([bits, _crc(bits)]), COPIES
    ).T.ravel()  # copies of a bit lie a tenth of the block apart
    coded = np.concatenate([coded, np.zeros(coded.size % 2, np.uint8)])
    coded ^= header_mask(coded.size)
    levels = (1.0 - 2.0 * coded).reshape(-1, 2)
    return ((levels[:, 0] + 1j * levels[:, 1]) * (BOOST / math.sqrt(2))).astype(np.complex64)


def decode_block(symbols: Complex, bits: int) -> Bits | None:
    """The bits of a block from its symbols after coherent detection, on any scale, or None where the CRC fails.

    Symbols of a varying reliability are best scaled by gain over noise variance: they are used as log-likelihood ratios.
    """
    soft = symbols.view(np.float32) * (1 - 2 * header_mask(2 * symbols.size).astype(np.float32))
    steps = bits + CRC_BITS + TAIL_BITS
    outputs = soft[: steps * COPIES].reshape(COPIES, steps).T
    for attempt in (invert, decode):  # at high SNR the first will do
        decoded = attempt(outputs)
        if np.array_equal(_crc(decoded[:bits]), decoded[bits:]):
            return decoded[:bits]
    return None
