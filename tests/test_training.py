# SPDX-License-Identifier: GPL-3.0-or-later
"""Training: it learns, it goes on exactly after a kill, and what it writes loads."""

import dataclasses
import json

import pytest
import torch
from djscc import DATA
from djscc.cli import main
from djscc.codec import load_codec
from djscc.codec.networks import AdaptiveDecoder, AdaptiveEncoder, multiply_adds, normalise_power
from djscc.codec.training import learning_rate, train
from djscc.codec.training_config import ConfigError, TrainingConfig
from PIL import Image
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def config(tmp_path_factory, landsat):
    folder = tmp_path_factory.mktemp("tiles")
    for i, tile in enumerate(landsat.images[:16]):
        Image.fromarray(tile).save(folder / f"{i:02d}.png")
    return TrainingConfig(
        name="tiny",
        data={"train": [str(folder)], "validation": [str(folder)]},
        layers=8,
        encoder={"family": "adaptive", "channels": 8, "blocks": 1},
        decoders={"ground": {"family": "adaptive", "channels": 8, "blocks": 1}},
        layers_sent=(2, 8),
        steps=24,
        batch=8,
        optimiser="muon",
        lr=3e-3,
        warmup=2,
        precision="fp32",
        validate_every=8,
        validation_tiles=16,
        validation_points=[(8, 10.0)],
    )


def test_it_learns_and_the_codec_loads(config, tmp_path):
    folder = train(config, tmp_path, progress=False)
    curve = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == [8, 16, 24]
    assert curve[-1]["ground/8@10dB"] > curve[0]["ground/8@10dB"] + 1
    assert load_codec(folder).name == "tiny"


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
