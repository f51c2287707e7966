# SPDX-License-Identifier: GPL-3.0-or-later
"""The digital baseline: MODCODs of DVB-S2/S2X, image codecs to a budget of bytes, and frames over both."""

import json
import sys

import numpy as np
import pytest
from djscc.cli import main
from djscc.digital import MODCODS, BudgetEncoder, DigitalError, bench, best_modcod, byte_budget, mosaic, send
from djscc.digital.image_codecs import decode
from djscc.imagery import cut


@pytest.mark.parametrize(
    ("snr_db", "name", "bits"),
    [
        (-2.85, "QPSK 2/9", 4 / 9),
        (-2, "QPSK 13/45", 26 / 45),
        (0, "QPSK 2/5", 0.8),
        (4, "QPSK 2/3", 4 / 3),
        (8, "16APSK 3/5", 2.4),
        (5.2, "8APSK 26/45", 26 / 15),
        (6.84, "16APSK 5/9", 20 / 9),
        (18.9, "256APSK 11/15", 88 / 15),
        (30, "256APSK 3/4", 6),
    ],
)
def test_the_best_modcod_that_closes(snr_db, name, bits):
    assert str(best_modcod(snr_db)) == name and best_modcod(snr_db).bits_per_symbol == pytest.approx(bits)


def test_below_all_thresholds_nothing_arrives():
    assert best_modcod(-2.86) is None and byte_budget(10_000, -3) == 0
    assert byte_budget(65536, 0) == 65536 * 8 // 10 // 8
    rates = [best_modcod(snr).bits_per_symbol for snr in np.arange(-2.85, 20, 0.25)]
    assert np.all(np.diff(rates) >= 0) and len(MODCODS) == 65


@pytest.mark.parametrize("count", [1, 5, 64])
def test_a_mosaic_is_cut_back_into_its_tiles(landsat, count):
    tiles = landsat.images[:count, :16, :16]
    assert np.array_equal(cut(mosaic(tiles), 16)[:count], tiles)


@pytest.mark.parametrize("name", ["jpeg2000", "webp", "avif"])
def test_budgets_are_kept_and_used(landsat, name):
    image = mosaic(landsat.images[:16, ::2, ::2])  # 128 x 128
    encoder = BudgetEncoder(image, name, avif_speed=9)
    errors = []
    for budget in (4000, 1500, 8000):  # not in order: what was tried before must not mislead
        data = encoder.encode(budget)
        assert 0.75 * budget < len(data) <= budget
        errors.append(((decode(data).astype(float) - image) ** 2).mean())
    assert errors[1] > errors[0] > errors[2]
    assert encoder.encode(20) is None


def test_sizes_that_fall_where_quality_rises_end_the_search_too(landsat, monkeypatch):
    sizes = np.arange(401) * 10 + 100
    sizes[200], sizes[201] = 2115, 2105  # as WebP does now and then
    monkeypatch.setattr("djscc.digital.image_codecs._encode", lambda p, n, o: bytes(sizes[round(4 * o["quality"])]))
    for budgets in ((2100, 2110, 2120), (2120, 2110, 2100), (2105, 2114, 2110, 2110)):
        encoder = BudgetEncoder(landsat.images[0], "webp")
        for budget in budgets:
            assert budget - 25 <= len(encoder.encode(budget)) <= budget


def test_a_frame_over_the_link(landsat):
    tiles = landsat.images[:20]
    points = [(1 / 12, 4.0), (1 / 4, 8.0), (1 / 12, -5.0), (1 / 4096, 0.0)]
    frames = list(send(tiles, "jpeg2000", points, tiles_per_frame=16))
    assert [len(f[0].decoded) for f in frames] == [16, 4]
    for few, many, outage, small in frames:
        assert few.used <= few.budget == byte_budget(round(len(few.decoded) * 12288 / 12), 4)
        errors = [((f.decoded.astype(float) - tiles[: len(f.decoded)]) ** 2).mean() for f in (few, many)]
        assert outage.decoded is None and small.decoded is None and errors[0] != errors[1]
    best, worst = (((frames[0][i].decoded.astype(float) - tiles[:16]) ** 2).mean() for i in (1, 0))
    assert best < worst


def test_wrong_names_are_named(landsat):
    with pytest.raises(DigitalError, match="image codec 'bpg' is unknown; known are jpeg2000, webp, avif"):
        BudgetEncoder(landsat.images[0], "bpg")


def test_evaluate_takes_an_image_codec(tmp_path, capsys):
    command = ["evaluate", "--codec", "jpeg2000", "--ratio", "1/12", "--limit", "8", "--json", str(tmp_path / "r.json")]
    assert main([*command, "--snr", "4"]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["images"] == 8 and result["frames_received"] == 1 and 15 < result["psnr_db"] < 45
    assert result["modcod"] == "QPSK 2/3" and result["symbols_per_image"] == 1024
    assert len(result["per_image"]["psnr_db"]) == 8 and "jpeg2000 over QPSK 2/3" in capsys.readouterr().out
    assert main([*command, "--snr", "-6"]) == 1
    assert "closes below -2.85 dB" in capsys.readouterr().err
    assert main([*command, "--snr", "4", "--channel", "rician-k10"]) == 1
    assert "only AWGN" in capsys.readouterr().err


def test_the_benchmark_measures_codec_and_links_over_the_same_frames(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "RATIOS", ("1/12",))
    monkeypatch.setattr(bench, "SNRS_DB", (4,))
    monkeypatch.setattr(bench, "FORMATS", ("jpeg2000",))
    monkeypatch.setattr(bench, "TILES_PER_FRAME", 8)
    out = tmp_path / "digital.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--every", "8", "--out", str(out)])
    assert bench.main() == 0
    first = json.loads(out.read_text())
    link, codec = first["links"]["jpeg2000"]["1/12"]["4"], first["codec"]["equal"]["1/12"]["4"]
    ahead = first["ahead_db"]["equal of jpeg2000"]["1/12"]["4"]
    assert ahead["psnr_db"] == pytest.approx(codec["psnr_db"] - link["psnr_db"], abs=0.006) and 0.9 < link["used"] <= 1
    monkeypatch.setattr(sys, "argv", ["bench", "--out", str(out), "--every", "8", "--keep-links"])
    monkeypatch.setattr(bench, "measure_format", None)
    assert bench.main() == 0 and json.loads(out.read_text())["links"] == first["links"]
