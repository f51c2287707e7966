# SPDX-License-Identifier: GPL-3.0-or-later
"""Training of tasks: it learns, it goes on exactly after a kill, on clean and on received images; wrong settings are named."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
import yaml
from djscc import DATA
from djscc.cli import main
from djscc.codec.optimiser import learning_rate
from djscc.codec.training_config import ConfigError
from djscc.imagery import load_tiles
from djscc.tasks import load_task, training
from djscc.tasks.received import ReceivedConfig, Transmission
from djscc.tasks.training import train
from djscc.tasks.training_config import TaskTrainingConfig
from safetensors.torch import load_file
from tasks_support import CLASSES, write_task, write_tiles
from tasks_support import training as settings


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return write_tiles(tmp_path_factory.mktemp("tiles"))


def test_it_learns_and_the_task_loads(tiles, tmp_path):
    task = load_task(str(train(settings(tiles), tmp_path, progress=False)))
    curve = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == [8, 16, 24]
    assert curve[-1]["accuracy"] == 1 and curve[-1]["cross_entropy"] < curve[0]["cross_entropy"]
    assert task.classes == CLASSES and task.manifest["training"]["tiles_seen"] == 24 * 12
    originals = load_tiles(tiles)
    entries = task.measure(originals.images, task.find_reference(originals))
    assert all(entry["decision"] == entry["label"] for entry in entries)


@pytest.mark.parametrize("received", [{}, {"decoder": "lite", "ratios": ["1/24", "1/4"], "snr_db": [0, 10]}])
def test_a_killed_run_goes_on_exactly(tiles, tmp_path, monkeypatch, received):
    config = settings(tiles, received=received, steps=6, validate_every=2)
    train(config, tmp_path / "whole", progress=False)
    real, calls = training.change_scale, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 4:  # in the second step after a checkpoint
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(training, "change_scale", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", progress=False)
    with (tmp_path / "parts" / "curve.jsonl").open("a") as curve:
        curve.write('{"step": 3, "l')  # torn by the kill
    monkeypatch.setattr(training, "change_scale", real)
    train(config, tmp_path / "parts", progress=False)
    lines = (tmp_path / "parts" / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
    whole, parts = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[k], parts[k]) for k in whole)
    assert ("received_accuracy" in json.loads(lines[-1])) == bool(received)


def test_it_starts_from_the_weights_of_a_task(tiles, tmp_path):
    initial = write_task(tmp_path / "initial", seed=3)
    config = settings(tiles, initial=str(initial), network={}, steps=1, lr=0.0)
    task = load_task(str(train(config, tmp_path / "out", progress=False)))
    for before, after in zip(load_task(str(initial)).network.parameters(), task.network.parameters(), strict=True):
        assert torch.equal(before, after)
    larger = load_task(
        str(train(dataclasses.replace(config, network={"size": 48}), tmp_path / "larger", progress=False))
    )
    assert larger.manifest["network"]["settings"] == task.manifest["network"]["settings"] | {"size": 48}
    with pytest.raises(ConfigError, match="leave network out"):
        train(dataclasses.replace(config, network={"family": "resnet8", "width": 6}), tmp_path / "b", progress=False)


def test_transmission_sends_the_wanted_share_at_the_wanted_points(landsat):
    images = torch.from_numpy(landsat.images[:48]).permute(0, 3, 1, 2).float() / 255
    config = ReceivedConfig.of({"decoder": "lite", "ratios": ["1/48", "1/4"], "snr_db": [-5, 10], "share": 0.5})
    send = Transmission(config, torch.device("cpu"))
    torch.manual_seed(1)
    received = send(images, torch.Generator().manual_seed(1))
    mse = (received - images).square().mean((1, 2, 3))
    as_sent = int((mse == 0).sum())
    assert 12 <= as_sent <= 36  # 24 expected; fails by chance once in 3000 seeds, and the seed is fixed
    assert torch.equal((received * 255).round() / 255, received) and 1e-5 < float(mse[mse > 0].mean()) < 2e-2
    plan = send._draw(2000, torch.Generator().manual_seed(2))
    assert (int(plan.sent.min()), int(plan.sent.max())) == (4, 48)
    assert -5 <= float(plan.snr_db.min()) < -4.9 and 9.9 < float(plan.snr_db.max()) <= 10
    assert (
        abs(float((plan.sent < 14).float().mean()) - 0.5) < 0.05
    )  # as many below as above the geometric mean of the ratios


def test_learning_rate_rises_stays_and_falls():
    config = TaskTrainingConfig("t", {}, steps=100, lr=1.0, warmup=10, decay_share=0.5)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == 0.1 and rates[9:51] == [1.0] * 42 and rates[99] == pytest.approx(0.02)
    assert np.all(np.diff(rates[50:]) < 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("colour=1", "unknown setting colour; known are .*batch"),
        ("steps=many", "steps 'many' is no number"),
        ("steps=0", "steps, batch, validate_every and validation_tiles must be at least 1"),
        ("zoom=[2, 1]", r"zoom \[2, 1\] must be lowest and highest"),
        ("zoom=1.5", "zoom 1.5 must be two numbers"),
        ("network={size: 64}", "names no family"),
        ("data={train: nowhere, validation: nowhere}", "nowhere: no such folder"),
        ("data={train: [a]}", "data must name the folders of train and validation"),
        ("kind=detection", "kind 'detection' cannot be trained here"),
        ("optimiser=sgd", "optimiser 'sgd' is unknown; known are adamw, muon"),
        ("network={family: resnet8, depth: 3}", "network .*: .*unexpected keyword argument 'depth'"),
        ("network={family: vgg99}", "neither resnet8 nor a network of timm"),
        ("batch=1000", "24 training tiles are fewer than one batch of 1000"),
        ("received={ratios: [1/4, 1/48]}", "must be lowest and highest"),
        ("received={ratios: [2, 3]}", "ratio 2 is not between 0 and 1"),
        ("received={codec: nowhere}", "codec 'nowhere' is not here"),
        ("received={noise: 3}", "received: unknown setting noise"),
        ("received={share: 2}", "share 2 and told 0.0 must be between 0 and 1"),
        ("initial=nowhere", "task 'nowhere' is not here"),
    ],
)
def test_wrong_settings_are_named(tiles, tmp_path, capsys, change, message):
    path = tmp_path / "config.yaml"
    raw = {k: v for k, v in vars(settings(tiles)).items() if not isinstance(v, tuple)}
    path.write_text(yaml.safe_dump(raw))
    assert main(["train-task", str(path), "--out", str(tmp_path / "out"), "--set", change]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error


def test_data_without_classes_is_refused(tiles, tmp_path):
    with pytest.raises(ConfigError, match="has no labels; a classification needs one folder a class"):
        train(settings(tiles / "Forest"), tmp_path, progress=False)


@pytest.mark.parametrize("path", sorted((DATA / "task_training").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_load(path):
    config = TaskTrainingConfig.load(path)
    assert config.name == path.stem and (not config.received or ReceivedConfig.of(config.received))


def test_the_command_trains(tiles, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    raw = {k: v for k, v in vars(settings(tiles, steps=2)).items() if not isinstance(v, tuple)}
    path.write_text(yaml.safe_dump(raw))
    assert main(["train-task", str(path), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "task")
    assert load_task(str(tmp_path / "out" / "task")).manifest["training"]["steps"] == 2
