# SPDX-License-Identifier: GPL-3.0-or-later
"""GeoTIFF: samples of any type become grey levels by a stated scaling, and received images find their place on the map again."""

import json

import numpy as np
import pytest
from djscc.campaign import scenes
from djscc.campaign.runlog import RunLog
from djscc.cli import main
from djscc.imagery import ImageError, load_image, load_tiles
from djscc.imagery.geotiff import Scaling, georeference, read, scale, write
from PIL import Image

rasterio = pytest.importorskip("rasterio")

PLACE = {"crs": "EPSG:32621", "transform": rasterio.transform.from_origin(600000, 7200000, 30, 30)}


@pytest.fixture
def scene(tmp_path):
    """48 x 64 pixels of three bands of 16 bits, the left 5 columns outside the scene."""
    samples = np.random.default_rng(1).integers(5000, 20000, (48, 64, 3)).astype(np.uint16)
    samples[:, :, 1] //= 4
    samples[:, :5] = 0
    write(tmp_path / "scene.tif", samples, PLACE)
    return tmp_path / "scene.tif", samples


def test_sixteen_bits_are_scaled_between_percentiles_of_valid_samples(scene):
    path, samples = scene
    image = load_image(path)
    assert image.shape == (48, 64, 3) and image.dtype == np.uint8 and not image[:, :5].any()
    for band in range(3):
        low, high = np.percentile(samples[:, 5:, band], [2, 98])
        expected = np.clip((samples[:, 5:, band] - low) / (high - low), 0, 1) * 255
        assert np.abs(image[:, 5:, band] - expected).max() <= 0.5001


def test_tiles_of_sixteen_bits_need_one_scaling(scene):
    with pytest.raises(ImageError, match=r"uint16, not 8-bit; scale all tiles of a folder alike"):
        load_tiles(scene[0].parent)


@pytest.mark.parametrize("bands", [1, 3, 4, 13])
def test_eight_bit_geotiffs_keep_their_bands(tmp_path, bands):
    samples = np.random.default_rng(1).integers(0, 256, (16, 16, bands), dtype=np.uint8)
    write(tmp_path / "a.tif", samples, PLACE)
    image = load_tiles(tmp_path).images[0]
    assert np.array_equal(image, samples if bands > 1 else np.repeat(samples, 3, 2))  # grey pictures become RGB


def test_an_alpha_band_is_no_band(tmp_path):
    samples = np.random.default_rng(1).integers(1, 256, (16, 16, 4), dtype=np.uint8)
    Image.fromarray(samples, "RGBA").save(tmp_path / "a.tif")
    assert np.array_equal(load_image(tmp_path / "a.tif"), samples[:, :, :3])


def test_floats_with_gaps_are_read(tmp_path):
    samples = np.random.default_rng(1).random((16, 16, 2)).astype(np.float32)
    samples[3, 4] = np.nan
    write(tmp_path / "a.tif", samples, PLACE)
    image = load_image(tmp_path / "a.tif")
    assert image.shape == (16, 16, 2) and image.max() == 255 and not image[3, 4].any()


def test_a_received_image_finds_its_place(scene, tmp_path):
    path, samples = scene
    Image.fromarray(load_image(path)).save(tmp_path / "received.png")
    assert main(["georeference", str(tmp_path / "received.png"), str(path), str(tmp_path / "out.tif")]) == 0
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.crs == PLACE["crs"] and out.transform == PLACE["transform"] and out.dtypes == ("uint8",) * 3
    georeference(tmp_path / "received.png", path, tmp_path / "units.tif", restore=True)
    restored = read(tmp_path / "units.tif").samples
    low, high = np.percentile(samples[:, 5:].reshape(-1, 3), [2, 98], axis=0)
    inside = ((samples >= low) & (samples <= high)).all(2)
    step = (high - low).max() / 255
    assert restored.dtype == np.uint16
    assert np.abs(restored[inside].astype(float) - samples[inside]).max() <= step / 2 + 1


def test_a_scaled_copy_tells_its_scaling(scene, tmp_path):
    path, samples = scene
    copy = tmp_path / "copy.tif"
    command = ["scale", str(path), str(copy), "--range", "1000", "21000", "--bands", "3", "1", "--json"]
    assert main([*command, str(tmp_path / "s.json")]) == 0
    assert json.loads((tmp_path / "s.json").read_text()) == {"low": [1000, 1000], "high": [21000, 21000]}
    image = load_image(copy)
    assert image.shape == (48, 64, 2)
    np.save(tmp_path / "received.npy", image)
    georeference(tmp_path / "received.npy", copy, tmp_path / "units.tif", restore=True)
    restored = read(tmp_path / "units.tif").samples[:, 5:].astype(float)
    assert np.abs(restored - samples[:, 5:, [2, 0]]).max() <= 20000 / 255 / 2 + 1


def test_reflectances_come_back_as_floats(tmp_path):
    samples = np.random.default_rng(1).uniform(-0.1, 0.4, (16, 16, 2)).astype(np.float32)
    write(tmp_path / "a.tif", samples, PLACE)
    scaling = scale(tmp_path / "a.tif", tmp_path / "grey.tif", limits=(-0.1, 0.4))
    np.save(tmp_path / "received.npy", load_image(tmp_path / "grey.tif"))
    georeference(tmp_path / "received.npy", tmp_path / "grey.tif", tmp_path / "units.tif", restore=True)
    restored = read(tmp_path / "units.tif").samples
    assert restored.dtype == np.float32 and np.abs(restored - samples).max() <= 0.5 / 255 / 2 + 1e-6
    tags = scaling.tags()
    tags.pop("DJSCC_SCALING_TYPE")  # of a file that does not tell its type
    with rasterio.open(tmp_path / "grey.tif", "r+") as file:
        file.update_tags(**tags, DJSCC_SCALING_TYPE="object")
    assert read(tmp_path / "grey.tif").scaled is None


def test_ground_control_points_are_kept(tmp_path):
    points = [rasterio.control.GroundControlPoint(r, c, 10 + c, 50 - r) for r, c in ((0, 0), (0, 8), (8, 0), (8, 8))]
    samples = np.random.default_rng(1).integers(1, 256, (8, 8, 3), dtype=np.uint8)
    write(tmp_path / "a.tif", samples, {"gcps": points, "crs": "EPSG:4326"})
    Image.fromarray(samples).save(tmp_path / "a.png")
    georeference(tmp_path / "a.png", tmp_path / "a.tif", tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as out:
        assert len(out.gcps[0]) == 4 and out.gcps[1].to_epsg() == 4326


def test_wrong_use_is_named(scene, tmp_path, capsys):
    path, samples = scene
    (tmp_path / "no.tif").write_bytes(b"not a tiff")
    with pytest.raises(ImageError, match=r"no\.tif: not a GeoTIFF"):
        load_image(tmp_path / "no.tif")
    with pytest.raises(ImageError, match="bands 4 are not there; it has bands 1 to 3"):
        scale(path, tmp_path / "o.tif", bands=[4])
    with pytest.raises(ImageError, match="from 5 to 5"):
        scale(path, tmp_path / "o.tif", limits=(5, 5))
    write(tmp_path / "empty.tif", np.zeros_like(samples), PLACE)
    with pytest.raises(ImageError, match="no sample of it is valid"):
        load_image(tmp_path / "empty.tif")
    Image.new("RGB", (8, 9)).save(tmp_path / "small.png")
    assert main(["georeference", str(tmp_path / "small.png"), str(path), str(tmp_path / "o.tif")]) == 1
    assert "is 8 x 9" in (said := capsys.readouterr().err) and "64 x 48; give the original" in said
    Image.new("L", (64, 48)).save(tmp_path / "grey.png")
    with pytest.raises(ImageError, match=r"has 1 bands, .* 3 of uint16: there is no scaling"):
        georeference(tmp_path / "grey.png", path, tmp_path / "o.tif", restore=True)
    assert not (tmp_path / "o.tif").exists()


def test_scalings_come_back():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    scaling = Scaling((100.0,), (8000.0,), "uint16")
    assert np.array_equal(scaling.to_grey(scaling.to_samples(grey), np.ones((16, 16), bool)), grey)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_received_bands_are_all_kept_and_find_their_place(tmp_path, bands):
    """In the run folder: what a PNG cannot hold lies beside it, and georeference takes it."""
    samples = np.random.default_rng(1).integers(1, 256, (16, 24, bands), dtype=np.uint8)
    write(tmp_path / "scene.tif", samples, PLACE)
    picture = RunLog(tmp_path / "run").save_picture(samples, "received", "scene")
    held = picture.with_suffix(".npy") if bands in (2, 4) else picture
    assert picture.is_file() and picture.with_suffix(".npy").exists() == (bands in (2, 4))
    georeference(held, tmp_path / "scene.tif", tmp_path / "out.tif")
    assert np.array_equal(read(tmp_path / "out.tif").samples, samples)
    if bands > 1:
        assert np.array_equal(scenes._begun(picture, samples.shape), samples)


def test_outside_in_one_band_is_outside(tmp_path):
    samples = np.random.default_rng(1).uniform(100, 3000, (40, 40, 3)).astype(np.float32)
    samples[:10, :, 2] = -9999
    write(tmp_path / "a.tif", samples, PLACE, valid=np.ones((40, 40), bool), nodata=-9999)
    raster = read(tmp_path / "a.tif")
    assert not raster.valid[:10].any() and raster.valid[10:].all() and min(raster.by_percentiles().low) > 100
    assert read(tmp_path / "a.tif", bands=[1, 2]).valid.all()


@pytest.mark.parametrize("scaled_first", [False, True])
def test_outside_stays_outside_when_restored(tmp_path, scaled_first):
    samples = np.random.default_rng(1).integers(7000, 12000, (40, 40, 3)).astype(np.uint16)
    inside = np.ones((40, 40), bool)
    inside[:, :15] = False
    original = tmp_path / "scene.tif"
    write(original, samples, PLACE, valid=inside, nodata=0)
    if scaled_first:
        scale(original, tmp_path / "grey.tif")
        original = tmp_path / "grey.tif"
    assert np.array_equal(read(original).valid, inside)
    Image.fromarray(load_image(original)).save(tmp_path / "received.png")
    georeference(tmp_path / "received.png", original, tmp_path / "out.tif", restore=True)
    with rasterio.open(tmp_path / "out.tif") as file:
        assert np.array_equal(file.dataset_mask() > 0, inside) and file.dtypes[0] == "uint16"
        assert file.nodata == (None if scaled_first else 0)
        assert abs(file.read()[:, inside].mean() - samples[inside].mean()) < 30


def test_zero_is_a_value_where_the_file_says_what_is_outside(tmp_path):
    samples = np.random.default_rng(1).integers(-50, 51, (16, 16, 1)).astype(np.int16)
    write(tmp_path / "heights.tif", samples, PLACE)
    assert read(tmp_path / "heights.tif").valid.all(), "signed integers"
    valid = np.ones((16, 16), bool)
    valid[0] = False
    counts = np.abs(samples).astype(np.uint16)
    write(tmp_path / "marked.tif", counts, PLACE, valid=valid, nodata=9999)
    assert np.array_equal(read(tmp_path / "marked.tif").valid, valid)
    write(tmp_path / "unmarked.tif", counts, PLACE)
    assert np.array_equal(read(tmp_path / "unmarked.tif").valid, counts[:, :, 0] != 0)


def test_unequal_bands_are_named(tmp_path):
    for name, bands in (("a", 3), ("b", 4)):
        write(tmp_path / f"{name}.tif", np.full((8, 8, bands), 9, np.uint8), PLACE)
    with pytest.raises(ImageError, match=r"b\.tif is 8 x 8 of 4 bands, the tiles before it 8 x 8 of 3 bands"):
        load_tiles(tmp_path)
