# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame header: fields, bits, code, and that nothing wrong is accepted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from djscc.waveform import FrameHeader, WaveformError
from djscc.waveform.convolutional import decode, encode, invert
from djscc.waveform.format import BOOST
from djscc.waveform.header import (
    BASE_BITS,
    HEADER_SYMBOLS,
    decode_block,
    encode_block,
    header_bits,
    parse_base,
    parse_header,
)
from djscc.waveform.trial import example_header


def over_the_air(header: FrameHeader) -> FrameHeader | None:
    base_bits, extension_bits = header_bits(header)
    decoded = decode_block(encode_block(base_bits), BASE_BITS)
    assert decoded is not None
    base = parse_base(decoded)
    assert base is not None
    assert base.extension_bits == extension_bits.size
    if extension_bits.size:
        symbols = encode_block(extension_bits)
        assert symbols.size == base.extension_symbols
        read = decode_block(symbols, extension_bits.size)
        assert read is not None
        extension_bits = read
    return parse_header(base, extension_bits)


def drawn(rng: np.random.Generator) -> FrameHeader:
    tiles = int(rng.choice([1, 2, 7, 64, 1024]))
    uniform = rng.random() < 0.5
    layers = (int(rng.integers(1, 256)),) * tiles if uniform else tuple(rng.integers(1, 256, tiles).tolist())
    side = int(rng.choice([8, 64, 256, 100, 65535]))
    total = int(rng.integers(tiles, 2**24))
    return FrameHeader(
        codec_id=int(rng.integers(2**32)),
        scene_id=int(rng.integers(2**32)),
        frame_number=int(rng.integers(2**16)),
        tile_index=int(rng.integers(total - tiles + 1)),
        tiles_total=total,
        layers=layers,
        symbols_per_layer=int(rng.choice([1, 4, max(1, min((side // 8) ** 2, 4))])),
        tile_height=side,
        tile_width=int(rng.choice([side, 64])),
        bands=int(rng.choice([1, 3, 13, 255])),
        image_height=int(rng.integers(2**16)),
        image_width=int(rng.integers(2**16)),
        seed=int(rng.integers(2**16)),
    )


def test_any_header_arrives() -> None:
    rng = np.random.default_rng(1)
    for _ in range(25):
        header = drawn(rng)
        assert over_the_air(header) == header


def test_uniform_tiles_of_common_shape_need_no_extension() -> None:
    assert header_bits(example_header(64))[1].size == 0
    assert HEADER_SYMBOLS == 1270


def test_table_of_layers_is_no_wider_than_needed() -> None:
    header = replace(example_header(64), layers=tuple(4 + i % 4 for i in range(64)))
    assert header_bits(header)[1].size == 2 * 64


def test_dict_is_json_and_comes_back() -> None:
    header = replace(example_header(3), layers=(1, 2, 3))
    assert FrameHeader.from_dict(json.loads(json.dumps(header.to_dict()))) == header
    assert header.payload_symbols == 6 * 64
    assert header.tile_count == 3


def test_from_dict_names_what_is_missing() -> None:
    values = example_header(1).to_dict()
    del values["bands"]
    with pytest.raises(WaveformError, match="bands"):
        FrameHeader.from_dict(values)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"codec_id": 2**32}, "codec_id is 4294967296"),
        ({"seed": -1}, "seed is -1"),
        ({"bands": 0}, "bands is 0"),
        ({"tile_height": 2.5}, "tile_height is 2.5"),
        ({"layers": ()}, "0 tiles"),
        ({"layers": (256,)}, "layers are 256"),
        ({"tile_index": 64}, "do not lie in a scene"),
        ({"layers": (255,) * 64, "symbols_per_layer": 65535}, "fewer tiles"),
    ],
)
def test_wrong_fields_name_the_value(change: dict[str, object], match: str) -> None:
    with pytest.raises(WaveformError, match=match):
        replace(example_header(64), **change)


def test_code_has_the_free_distance_of_its_class() -> None:
    """56 for this code of rate 1/6; inputs of up to 10 bits show it."""
    weights = []
    for number in range(1, 1 << 10, 2):
        bits = np.array([number >> i & 1 for i in range(10)], np.uint8)
        weights.append(int(encode(bits, 6).sum()))
    assert min(weights) == 56


def test_inverse_returns_what_was_coded() -> None:
    bits = np.random.default_rng(1).integers(0, 2, 200).astype(np.uint8)
    soft = 1 - 2 * encode(bits, 10).astype(np.float32)
    assert np.array_equal(invert(soft), bits)


def test_viterbi_corrects_noise() -> None:
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, 200).astype(np.uint8)
    soft = 1 - 2 * encode(bits, 6).astype(np.float32)
    noisy = soft + rng.standard_normal(soft.shape).astype(np.float32) * 1.4  # Eb/N0 = 1.8 dB
    assert np.array_equal(decode(noisy), bits)


def test_header_decodes_at_minus_8_db() -> None:
    """Measured loss is below 0.1 %; more than 1 lost of 40 has a chance of below 1e-3."""
    rng = np.random.default_rng(3)
    bits = header_bits(example_header(64))[0]
    symbols = encode_block(bits)
    noise = np.sqrt(10**0.8 / 2)
    lost = 0
    for _ in range(40):
        received = symbols + noise * (rng.standard_normal(symbols.size) + 1j * rng.standard_normal(symbols.size))
        decoded = decode_block(received.astype(np.complex64), BASE_BITS)
        assert decoded is None or np.array_equal(decoded, bits)
        lost += decoded is None
    assert lost <= 1
    assert abs(symbols[0]) == pytest.approx(BOOST)


def test_noise_is_never_a_header() -> None:
    """A CRC of 32 bits: one false header in 4e9 on average."""
    rng = np.random.default_rng(4)
    for _ in range(60):
        noise = rng.standard_normal((HEADER_SYMBOLS, 2)).astype(np.float32).view(np.complex64)[:, 0]
        assert decode_block(noise, BASE_BITS) is None


def test_constant_symbols_are_never_a_header() -> None:
    for value in (0, 1, 1j, 1 + 1j, -1):
        assert decode_block(np.full(HEADER_SYMBOLS, value, np.complex64), BASE_BITS) is None


def test_contradictory_values_are_refused_behind_a_good_crc() -> None:
    bits = header_bits(example_header(64))[0]
    version = bits.copy()
    version[:4] = 0
    assert parse_base(version) is None
    beyond = bits.copy()
    beyond[84:108] = 1  # tile_index at its most, in a scene of 64
    assert parse_base(beyond) is None
