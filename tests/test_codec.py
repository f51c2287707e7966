# SPDX-License-Identifier: GPL-3.0-or-later
"""The codec: power, prefixes, sizes, reliability, and weights that are checked before they are used."""

import json
import shutil

import numpy as np
import pytest
from djscc import DATA
from djscc.codec import CodecError, load_codec, load_codec_by_id
from djscc.quality import measure


def through(codec, tiles, layers, snr_db, seed=1, told=None):
    """Over AWGN with the noise variance known."""
    rng = np.random.default_rng(seed)
    sent = codec.encode(tiles, layers, told)
    variance = 10 ** (-snr_db / 10)
    noise = rng.normal(size=(*sent.shape, 2)) @ [1, 1j] * np.sqrt(variance / 2)
    shape = sent.shape
    return codec.decode(
        (sent + noise).astype(np.complex64),
        np.full(shape, variance, np.float32),
        np.ones(shape, bool),
        tiles.shape[1],
        tiles.shape[2],
    )


def psnr(tiles, decoded):
    return measure(tiles, decoded, ["psnr_db"])["psnr_db"].mean()


@pytest.mark.parametrize("layers", [1, 4, 16, 48])
def test_symbols_have_mean_power_one_for_every_tile(codec, landsat, layers):
    symbols = codec.encode(landsat.images[:8], layers)
    assert symbols.shape == (8, layers * 64) and symbols.dtype == np.complex64
    assert np.allclose((np.abs(symbols) ** 2).mean(1), 1, atol=1e-4)


def test_ratios_are_layers(codec):
    assert [codec.layers_for_ratio(r) for r in (1 / 48, 1 / 24, 1 / 16, 1 / 12, 1 / 8, 1 / 4)] == [4, 8, 12, 16, 24, 48]
    assert codec.ratio(16) == pytest.approx(1 / 12)
    for bad in (1 / 2, 1 / 1000, float("nan")):
        with pytest.raises(CodecError, match="whole multiples of 1/192"):
            codec.layers_for_ratio(bad)


def test_quality_rises_with_snr_and_ratio(codec, landsat):
    tiles = landsat.images[::4]
    by_snr = [psnr(tiles, through(codec, tiles, 16, snr)) for snr in (-8, -4, 0, 4, 8, 14, 20)]
    by_ratio = [psnr(tiles, through(codec, tiles, layers, 5)) for layers in (4, 8, 12, 16, 24, 48)]
    assert np.all(np.diff(by_snr) > 0), by_snr
    assert np.all(np.diff(by_ratio) > 0), by_ratio


def test_a_prefix_decodes(codec, landsat):
    """Half of the layers lost at the end costs little more than having planned for half."""
    tiles = landsat.images[::4]
    sent = codec.encode(tiles, 16)
    shape = sent.shape
    received = np.ones(shape, bool)
    received[:, shape[1] // 2 :] = False
    noise_variance = np.full(shape, 0.1, np.float32)
    prefix = psnr(tiles, codec.decode(sent, noise_variance, received, 64, 64))
    assert prefix > psnr(tiles, through(codec, tiles, 8, 10)) - 1.5
    assert prefix == pytest.approx(
        psnr(tiles, codec.decode(sent[:, :512], noise_variance[:, :512], received[:, :512], 64, 64)), abs=0.05
    )


def test_erasures_are_better_said_than_hidden(codec, landsat):
    tiles = landsat.images[::4]
    rng = np.random.default_rng(5)
    sent = codec.encode(tiles, 16)
    received = rng.random(sent.shape) > 0.2
    damaged = np.where(received, sent, 3).astype(np.complex64)
    variance = np.full(sent.shape, 0.03, np.float32)
    said = psnr(tiles, codec.decode(damaged, variance, received, 64, 64))
    hidden = psnr(tiles, codec.decode(damaged, variance, np.ones_like(received), 64, 64))
    assert said > hidden + 3


def test_hostile_symbols_do_no_harm(codec):
    symbols = np.full((1, 1024), np.nan + 1j * np.inf, np.complex64)
    variance = np.full((1, 1024), -np.inf, np.float32)
    assert codec.decode(symbols, variance, np.ones((1, 1024), bool), 64, 64).shape == (1, 64, 64, 3)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 130), (8, 8), (37, 11), (256, 256)])
def test_any_size_comes_back_exactly(codec, height, width):
    tiles = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    symbols = codec.encode(tiles, 6)
    assert symbols.shape == (2, 6 * codec.symbols_per_layer(height, width))
    decoded = codec.decode(
        symbols, np.full(symbols.shape, 0.1, np.float32), np.ones(symbols.shape, bool), height, width
    )
    assert decoded.shape == tiles.shape and decoded.dtype == np.uint8


def test_wrong_use_is_named(codec, landsat):
    with pytest.raises(CodecError, match="0 layers"):
        codec.encode(landsat.images[:1], 0)
    with pytest.raises(CodecError, match="uint8"):
        codec.encode(landsat.images[:1].astype(float), 4)
    with pytest.raises(CodecError, match="no whole number of layers"):
        codec.decode(np.zeros((1, 100), np.complex64), np.ones((1, 100), np.float32), np.ones((1, 100), bool), 64, 64)
    with pytest.raises(CodecError, match="decoder 'huge'"):
        load_codec("adaptive", "huge")
    with pytest.raises(CodecError, match="'nowhere' is not here; known are adaptive"):
        load_codec("nowhere")


def test_codec_is_found_by_its_id(codec):
    assert load_codec_by_id(codec.id).name == codec.name
    with pytest.raises(CodecError, match="codec id 00000001 is not here"):
        load_codec_by_id(1)


def test_damaged_weights_are_refused_with_name_and_both_hashes(tmp_path):
    folder = tmp_path / "adaptive"
    shutil.copytree(DATA / "codecs" / "adaptive", folder)
    file = folder / "encoder.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    with pytest.raises(
        CodecError, match=rf"encoder\.safetensors.*SHA-256 [0-9a-f]{{64}}.*{manifest['encoder']['sha256']}"
    ):
        load_codec(folder)


def test_a_manifest_cannot_name_a_file_elsewhere(tmp_path):
    folder = tmp_path / "adaptive"
    shutil.copytree(DATA / "codecs" / "adaptive", folder)
    (tmp_path / "encoder.safetensors").write_bytes((folder / "encoder.safetensors").read_bytes())
    (folder / "encoder.safetensors").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["encoder"]["file"] = "../encoder.safetensors"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CodecError, match="cannot be read"):
        load_codec(folder)


def test_every_shipped_codec_loads():
    from djscc.codec import available_codecs

    for name in available_codecs():
        for decoder in json.loads((DATA / "codecs" / name / "manifest.json").read_text())["decoders"]:
            assert load_codec(name, decoder).layers >= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "deadbeef"}, "wrong is id"),
        ({"id": "not-hex"}, "wrong is id"),
        ({"layers": "4"}, "wrong is layers"),
        ({"decoders": {}}, "wrong is decoders"),
        ({"decoders": {"lite": {"family": "adaptive"}}}, "wrong is lite"),
    ],
)
def test_a_damaged_manifest_is_refused_and_hinders_no_other_codec(tmp_path, monkeypatch, change, said):
    folder = tmp_path / "other"
    shutil.copytree(DATA / "codecs" / "adaptive", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(CodecError, match=said):
        load_codec(folder)
    monkeypatch.setenv("DJSCC_CODECS", str(tmp_path))
    assert load_codec_by_id(int(manifest["id"], 16)).name == "adaptive"


def test_options_that_a_network_does_not_take_are_refused(tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(DATA / "codecs" / "adaptive", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["encoder"]["options"]["colour"] = "red"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CodecError, match=r"does not fit the network .*colour"):
        load_codec(folder)
