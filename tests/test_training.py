# SPDX-License-Identifier: GPL-3.0-or-later
"""Training: it learns, it goes on exactly after a kill, and what it writes loads."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from djscc import DATA
from djscc.cli import main
from djscc.codec import CodecError, load_codec
from djscc.codec.networks import AdaptiveDecoder, AdaptiveEncoder, multiply_adds, normalise_power
from djscc.codec.optimiser import learning_rate
from djscc.codec.training import Model, train
from djscc.codec.training_channel import draw
from djscc.codec.training_config import ConfigError, TrainingConfig
from PIL import Image
from safetensors.torch import load_file


@pytest.fixture
def config(tiny_training):
    return tiny_training


def test_it_learns_and_the_codec_loads(config, tmp_path):
    folder = train(config, tmp_path, progress=False)
    curve = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == [8, 16, 24]
    assert curve[-1]["ground/8@10dB"] > curve[0]["ground/8@10dB"] + 1
    assert load_codec(folder).name == "tiny"


def test_it_trains_on_tiles_of_any_size(config, tmp_path, landsat):
    for i, tile in enumerate(landsat.images[:16]):
        (tmp_path / "tiles").mkdir(exist_ok=True)
        Image.fromarray(tile[:50, :61]).save(tmp_path / "tiles" / f"{i:02d}.png")
    data = {"train": [str(tmp_path / "tiles")], "validation": [str(tmp_path / "tiles")]}
    odd = dataclasses.replace(config, data=data, steps=2, validate_every=2)
    codec = load_codec(train(odd, tmp_path / "run", progress=False))
    assert codec.encode(landsat.images[:1, :50, :61], 4).shape == (1, 4 * 7 * 8)


def test_draws_are_spread_over_the_batch(config):
    plan = draw(dataclasses.replace(config, batch=64, snr_db=(0, 64)), torch.Generator().manual_seed(1))
    assert np.array_equal(np.sort(plan.snr_db.numpy().astype(int)), np.arange(64))
    counts = np.bincount(plan.sent.numpy(), minlength=9)[2:9]
    share = np.log(np.arange(3, 10) / np.arange(2, 9)) / np.log(9 / 2)
    assert np.abs(counts - 64 * share).max() <= 1.01


def test_multiply_adds_of_linear_layers_over_tokens():
    assert multiply_adds(torch.nn.Linear(64, 128), torch.rand(1, 49, 64)) == 49 * 64 * 128


def test_multiply_adds_of_transposed_convolutions():
    layer = torch.nn.ConvTranspose2d(8, 4, 5, stride=2)
    assert multiply_adds(layer, torch.rand(1, 8, 6, 7)) == 6 * 7 * 8 * 4 * 5 * 5


def test_it_trains_over_described_channels(config, tmp_path):
    over = dataclasses.replace(config, channels=["rician-k10", "shadowed-average"], steps=4, validate_every=4)
    assert load_codec(train(over, tmp_path, progress=False)).name == "tiny"


def test_a_killed_run_goes_on_exactly(config, tmp_path, monkeypatch):
    train(config, tmp_path / "whole", progress=False)
    import djscc.codec.training as training

    real, calls = training.augment, []

    def killed(image, generator):
        calls.append(1)
        if len(calls) == 11:  # in the step after the checkpoint and one more
            raise KeyboardInterrupt
        return real(image, generator)

    monkeypatch.setattr(training, "augment", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", progress=False)
    with (tmp_path / "parts" / "curve.jsonl").open("a") as curve:
        curve.write('{"step": 9, "l')  # torn by the kill
    steps = []
    monkeypatch.setattr(training, "augment", lambda image, generator: steps.append(1) or real(image, generator))
    train(config, tmp_path / "parts", progress=False)
    assert len(steps) == 24 - 8  # from the checkpoint on, not from the start
    assert [json.loads(line)["step"] for line in (tmp_path / "parts" / "curve.jsonl").read_text().splitlines()] == [
        8,
        16,
        24,
    ]
    whole, parts = (load_file(tmp_path / run / "checkpoint.safetensors") for run in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_run_does_not_go_on_as_another(config, tmp_path):
    first = dataclasses.replace(config, steps=8)
    train(first, tmp_path, progress=False)
    for other in ({"name": "other"}, {"lr": 0.5}):
        with pytest.raises(ConfigError, match=f"{next(iter(other))}: .* there"):
            train(dataclasses.replace(first, **other), tmp_path, progress=False)
    train(dataclasses.replace(first, steps=9), tmp_path, progress=False)  # more of the same
    with pytest.raises(ConfigError, match="is at step 9 already, beyond steps 8"):
        train(first, tmp_path, progress=False)
    with pytest.raises(ConfigError, match="--device tpu9: is not there"):
        train(first, tmp_path, "tpu9", progress=False)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"checkpoint\.safetensors: damaged"):
        train(dataclasses.replace(first, steps=10), tmp_path, progress=False)


def test_settings_given_in_several_places_all_count(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr("djscc.codec.training.train", lambda config, *_: taken.append(config))
    assert main(["train", "reference", "--out", str(tmp_path), "--set", "steps=7", "--set", "batch=2", "seed=1e1"]) == 0
    assert (taken[0].steps, taken[0].batch, taken[0].seed) == (7, 2, 10)


def test_a_codec_of_one_band_learns_and_is_used_on_grey_pictures(config, tmp_path, capsys):
    folder = tmp_path / "grey"
    folder.mkdir()
    for number in range(8):
        texture = np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(texture).resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    data = {"train": [str(folder)], "validation": [str(folder)]}
    codec = train(dataclasses.replace(config, bands=1, data=data, batch=4), tmp_path / "t", progress=False)
    link = ["--codec", str(codec), "--ratio", str(load_codec(codec).ratio(config.layers))]
    assert main(["evaluate", *link, "--snr", "5", "--data", str(folder)]) == 0
    assert "8 of 8 tiles" in capsys.readouterr().out
    assert main(["transmit", str(folder / "0.png"), *link, "--sink", f"file:{tmp_path / 'air'}"]) == 0


def test_shipped_configurations_load():
    for path in (DATA / "training").glob("*.yaml"):
        assert TrainingConfig.load(path, ["steps=7", "snr_db=[1,2]"]).snr_db == [1, 2]


def test_the_rate_rises_holds_and_falls_to_nothing(config):
    rates = [learning_rate(step, config) for step in range(25)]
    assert rates[0] == pytest.approx(config.lr / 2) and max(rates) == config.lr and rates[24] == 0


def test_bad_configurations_are_named(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text("name: x\nlayer: 3\n")
    with pytest.raises(ConfigError, match="unknown setting layer;"):
        TrainingConfig.load(file)
    with pytest.raises(ConfigError, match="'steps': write it as key=value"):
        TrainingConfig.load(DATA / "training" / "reference.yaml", ["steps"])
    for change, said in (
        ("channels=[a", "no YAML"),
        ("data={train: [x]}", "validation is missing"),
        ("snr_db=3", r"snr_db is 3: give the least and the most"),
        ("layers_sent=[2, 48]", r"layers_sent is \[2, 48\], the networks have 1 to 4 layers"),
        ("layers_sent=[2, 4]", r"give layers_sent: \[4, 4\]"),
        ("encoder=reference", "encoder is 'reference': give a family"),
        ("decoders={}", "decoders: give one or more"),
        ("validation_points=[[4]]", r"validation_points: \[4\]; give pairs of layers \(1 to 4\)"),
        ("validation_points=[[9, 5]]", r"validation_points: \[9, 5\]"),
        ("decoder_weights={ltie: 0}", "decoder_weights: ltie is none of the decoders"),
        ("precision=float16", "precision is 'float16': give bf16 or fp32"),
        ("validate_every=0", "validate_every must be at least 1"),
        ("steps=1.9", "steps 1.9 is no whole number"),
        ("steps=.inf", "steps inf is no whole number"),
        ("lr=fast", "lr 'fast' is no number"),
        ("validation_points=5", "validation_points is 5"),
        ("decoder_weights=5", "decoder_weights is 5"),
        ("channels=awgn", "channels is 'awgn': give a list"),
    ):
        with pytest.raises(ConfigError, match=said):
            TrainingConfig.load(DATA / "training" / "reference.yaml", [change])
    config = TrainingConfig.load(DATA / "training" / "reference.yaml", ["encoder={family: reference, chanels: 3}"])
    with pytest.raises(ConfigError, match="chanels"):
        Model(config)
    assert main(["train", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "o")]) == 1
    assert "none.yaml: no such file" in capsys.readouterr().err


def test_normalised_power_counts_complex_symbols_that_are_sent():
    symbols = torch.randn(3, 8, 4, 4, 2, generator=torch.Generator().manual_seed(1)) * 7
    kept = (torch.arange(8)[None] < torch.tensor([[2], [5], [8]])).float()
    power = normalise_power(symbols, kept).square().sum((1, 2, 3, 4))
    assert torch.allclose(power, torch.tensor([2.0, 5.0, 8.0]) * 16, rtol=1e-4)


def test_the_encoder_is_light_and_the_lite_decoder_too():
    """At most 40 and 80 million multiply-adds for a 64 x 64 tile."""
    one = torch.ones(1)
    assert multiply_adds(AdaptiveEncoder(), torch.rand(1, 3, 64, 64), one, one, one) <= 40e6
    symbols, reliability = torch.randn(1, 48, 8, 8, 2), torch.ones(1, 48, 8, 8)
    assert multiply_adds(AdaptiveDecoder(), symbols, reliability) <= 80e6


def test_a_codec_of_four_bands_trains_and_is_used(config, tmp_path):
    """Tiles of red, green, blue and near infrared, as 8-bit GeoTIFF."""
    pytest.importorskip("rasterio")
    from djscc.imagery import load_tiles
    from djscc.imagery.geotiff import write

    for i in range(8):
        ramps = np.linspace(0, [60 + 20 * i, 250 - 20 * i, 200, 120], 32)[:, None] * np.ones((32, 32, 4))
        write(tmp_path / "tiles" / f"{i}.tif", (ramps + 1).astype(np.uint8), {})
    folder = str(tmp_path / "tiles")
    four = dataclasses.replace(
        config, bands=4, data={"train": [folder], "validation": [folder]}, steps=80, validate_every=80, lr=1e-2
    )
    codec = load_codec(train(four, tmp_path / "run", progress=False))
    tiles = load_tiles(folder).images
    assert codec.bands == 4 and codec.ratio(8) == 8 / 256 and tiles.shape == (8, 32, 32, 4)
    sent = codec.encode(tiles, 8)
    decoded = codec.decode(sent, np.full(sent.shape, 0.01, np.float32), np.ones(sent.shape, bool), 32, 32)
    error = ((decoded.astype(float) - tiles) ** 2).mean((0, 1, 2))
    assert decoded.shape == tiles.shape and np.all(error < 0.5 * tiles.astype(float).var((0, 1, 2))), error
    with pytest.raises(CodecError, match="3 bands, codec tiny takes 4"):
        codec.encode(tiles[..., :3], 8)
    with pytest.raises(ConfigError, match=r"bands 3: the tiles of .* have 4"):
        train(dataclasses.replace(four, bands=3), tmp_path / "wrong", progress=False)


@pytest.mark.timeout(240)  # it starts torch six times
def test_two_processes_train_one_codec_and_go_on_exactly(config, tmp_path):
    """By torchrun, over gloo: a run of 6 steps, and one that goes on from what there was after 3."""
    config = dataclasses.replace(config, steps=6, validate_every=3, decay_share=0.0, validation_tiles=4)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config)))
    script = tmp_path / "run.py"
    script.write_text(
        "import pathlib, shutil, sys\n"
        "from djscc.codec import training\n"
        "from djscc.codec.training_config import TrainingConfig\n"
        "folder, save = pathlib.Path(sys.argv[1]), training.save_checkpoint\n"
        "def saved(path, model, optims, step):\n"
        "    save(path, model, optims, step)\n"
        "    if step == 3:\n"
        "        shutil.copytree(folder / 'whole', folder / 'parts')\n"
        "training.save_checkpoint = saved\n"
        "config = TrainingConfig.load(folder / 'config.yaml')\n"
        "training.train(config, folder / sys.argv[2], 'cpu', progress=False)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    for run in ("whole", "parts"):
        done = subprocess.run(
            [*command, str(tmp_path), run], env=environment, capture_output=True, text=True, timeout=110
        )
        assert done.returncode == 0, done.stderr[-3000:]
    whole, parts = (load_file(tmp_path / run / "checkpoint.safetensors") for run in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[k], parts[k]) for k in whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "curve.jsonl").read_text().splitlines()]
    assert steps == [3, 6] and load_codec(tmp_path / "parts" / "codec").name == "tiny"
