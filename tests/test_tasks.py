# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks: loading, refusals, what they log of received tiles, with labels and without, and from there to results and fits."""

import json

import numpy as np
import pytest
import torch
from djscc import DATA
from djscc.campaign import RunLog
from djscc.campaign.plan import Plan
from djscc.campaign.runner import run_campaign
from djscc.campaign.summary import point_means, sum_up
from djscc.cli import main
from djscc.codec import load_codec
from djscc.imagery import ImageError, TileSet, load_tiles
from djscc.semantic_loss.cells import collect
from djscc.semantic_loss.losses import loss_of_metric
from djscc.tasks import TaskError, available_tasks, bench, load_task, register, summarise
from djscc.tasks.networks import Classifier
from djscc.tasks.task import KINDS, Task
from tasks_support import CLASSES, write_task, write_tiles


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> TileSet:
    return load_tiles(write_tiles(tmp_path_factory.mktemp("tiles")))


@pytest.fixture
def task_folder(tmp_path):
    return write_task(tmp_path / "tiny")


def test_entries_with_labels_without_and_without_originals(task_folder, tiles, landsat):
    task = load_task(str(task_folder))
    reference = task.find_reference(tiles)
    entries = task.measure(tiles.images, reference)
    for tile, entry, name in zip(tiles.images, entries, tiles.names, strict=True):
        assert list(entry) == ["decision", "original", "label", "loss"]
        assert entry["label"] == name.split("/")[0] and entry["decision"] == entry["original"]  # received as sent
        p = task.probabilities(tile[None])[0]
        assert entry["decision"] == CLASSES[p.argmax()]
        assert entry["loss"] == pytest.approx(
            1 - p[CLASSES.index(entry["label"])], abs=0.02
        )  # batches round differently
    unlabelled = task.measure(landsat.images[:3], task.find_reference(landsat.take(3)))
    assert [list(entry) for entry in unlabelled] == [["decision", "original", "loss"]] * 3
    assert all(entry["loss"] < 2 / 3 + 0.01 for entry in unlabelled)  # 1 - the largest of three
    alone = task.measure(tiles.images[:1], None)
    assert list(alone[0]) == ["decision", "confidence"] and 1 / 3 - 0.01 < alone[0]["confidence"] <= 1
    assert task.measure(tiles.images[:0], None) == []


def test_labels_go_by_the_names_of_classes(task_folder, tiles):
    some = TileSet(tiles.images[:3], tiles.names[:3], np.array([0, 1, 1]), ("Glacier", "Water"))
    entries = load_task(str(task_folder)).measure(some.images, load_task(str(task_folder)).find_reference(some))
    assert "label" not in entries[0]  # a class that the task does not know
    assert [entry["label"] for entry in entries[1:]] == ["Water", "Water"]


def test_summary_counts_only_what_is_there():
    tiles = [
        {"tasks": {"a": {"decision": "x", "original": "x", "label": "y", "loss": 0.5}}},
        {"tasks": {"a": {"decision": "x", "original": "z", "loss": 0.3}, "b": {"loss": 0.25, "recall": 0.5}}},
        {"index": 2},
    ]
    assert summarise(tiles) == {
        "a": {"accuracy": 0.0, "agreement": 0.5, "task_loss": 0.4},
        "b": {"task_loss": 0.25, "recall": 0.5},
    }


def test_originals_are_judged_once(task_folder, tiles):
    task = load_task(str(task_folder))
    calls = []
    for _ in range(3):
        task.reference(("scene", 0, 24), lambda: calls.append(1) or tiles)
    task.reference(("scene", 24, 48), lambda: calls.append(1) or tiles)
    assert len(calls) == 2


def test_wrong_weights_are_refused_with_both_hashes(task_folder):
    manifest = json.loads((task_folder / "manifest.json").read_text())
    weights = task_folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(
        TaskError, match=rf"weights.safetensors: .* SHA-256 [0-9a-f]{{64}}, .* {manifest['network']['sha256']}"
    ):
        load_task(str(task_folder))
    weights.unlink()
    with pytest.raises(TaskError, match=r"weights.safetensors: cannot be read \(No such file"):
        load_task(str(task_folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "not a task's manifest of format 1"),
        ({"kind": "telepathy"}, "kind 'telepathy' of task is unknown; known are .*classification"),
        ({"classes": ["one", "two"]}, "does not fit the network"),
        ({"classes": None}, "not the manifest of a classification"),
    ],
)
def test_wrong_manifests_are_refused(task_folder, change, message):
    manifest = json.loads((task_folder / "manifest.json").read_text())
    (task_folder / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(TaskError, match=message):
        load_task(str(task_folder))


def test_another_network_than_the_weights_is_refused(task_folder):
    manifest = json.loads((task_folder / "manifest.json").read_text())
    manifest["network"]["settings"]["width"] = 5
    (task_folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TaskError, match="does not fit the network that the manifest describes"):
        load_task(str(task_folder))
    manifest["network"]["settings"] = {"family": "no_such_network"}
    (task_folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TaskError, match="neither resnet8 nor a network of timm"):
        load_task(str(task_folder))
    manifest["network"]["settings"] = {
        "family": "resnet10t",
        "checkpoint_path": "w.pth",
        "pretrained_cfg": {"file": "w.pth"},
    }
    (task_folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TaskError, match="checkpoint_path, pretrained_cfg would load weights from elsewhere"):
        load_task(str(task_folder))


def test_tasks_are_found_by_name(task_folder, monkeypatch):
    with pytest.raises(TaskError, match=r"task 'tiny' is not here; known are .*folder's path"):
        load_task("tiny")
    monkeypatch.setenv("DJSCC_TASKS", str(task_folder.parent))
    assert available_tasks()["tiny"] == task_folder and load_task("tiny").name == "tiny"


@pytest.mark.parametrize("name", [path.parent.name for path in sorted(DATA.glob("tasks/*/manifest.json"))])
def test_shipped_tasks_load(name, landsat):
    task = load_task(name)
    assert task.name == name and task.manifest["network"]["parameters"] < 10e6
    entry = task.measure(landsat.images[:1], task.find_reference(landsat.take(1)))[0]
    assert entry["decision"] == entry["original"] and "label" not in entry


@pytest.mark.parametrize(
    ("family", "size", "options"),
    [("efficientvit_m0", 112, {"img_size": 112}), ("mobilevitv2_050", 64, {}), ("resnet8", 0, {"width": 8})],
)
def test_networks_of_timm_and_the_small_one(family, size, options):
    network = Classifier(family, 10, size, **options)
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(image)
    logits.float().sum().backward()
    assert logits.shape == (2, 10) and image.grad is not None and torch.isfinite(image.grad).all()


def test_a_kind_can_be_added(tmp_path, tiles):
    @register("brightness")
    class Brightness(Task):
        """Loses what the mean grey level differs by."""

        @classmethod
        def load(cls, folder, manifest, device):
            return cls(manifest["name"], "00000000", manifest, torch.nn.Identity())

        def find_reference(self, originals):
            return originals.images.mean((1, 2, 3))

        def measure(self, received, reference):
            return [{"loss": float(abs(a - b)) / 255} for a, b in zip(received.mean((1, 2, 3)), reference, strict=True)]

    try:
        (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "name": "grey", "kind": "brightness"}))
        plan = small_plan(tmp_path, tiles, tasks=(str(tmp_path),))
        log = run_campaign(plan, tmp_path / "run", workers=1, progress=False)
        assert collect(log.tiles(), loss_of_metric("task_loss")).loss[0] < 0.1
    finally:
        KINDS.pop("brightness")


def small_plan(folder, tiles, **changes) -> Plan:
    settings = {
        "name": "t",
        "ratios": (1 / 12,),
        "snr_db": (0.0,),
        "level": "symbols",
        "decoder": "lite",
        "metrics": ("mse",),
    }
    return Plan(**(settings | {"data": str(write_tiles(folder / "data", 4))} | changes))


def test_a_campaign_logs_every_task(tmp_path, tiles):
    tasks = tuple(str(write_task(tmp_path / name, name, seed)) for seed, name in enumerate(("first", "second")))
    plan = small_plan(tmp_path, tiles, tasks=tasks, tiles_per_frame=5)
    log = run_campaign(plan, tmp_path / "run", workers=1, progress=False)
    records = list(log.records())
    assert {record["received"] for record in records} == {True} and len(records) == 3
    for record in records:
        assert set(record["tasks"]["first"]) == {"accuracy", "agreement", "task_loss"}
        for tile in record["tiles"]:
            assert set(tile["tasks"]) == {"first", "second"} and tile["tasks"]["first"]["label"] in CLASSES
    assert log.settings()["settings"]["task_ids"].keys() == {"first", "second"}
    loss = [tile["tasks"]["second"]["loss"] for tile in log.tiles()]
    assert collect(log.tiles(), loss_of_metric("task_loss:second")).loss[0] == pytest.approx(np.mean(loss))
    result = sum_up(records)
    assert result["accuracy"] == result["tasks"]["first"]["accuracy"]  # the first task's
    assert result["tasks"]["second"]["task_loss"] == pytest.approx(np.mean(loss))
    assert point_means(records)[0]["tasks"].keys() == {"first", "second"}
    assert len(result["per_image"]["tasks"]) == 12


def test_two_tasks_of_one_name_are_refused(tmp_path, tiles):
    tasks = tuple(str(write_task(tmp_path / folder, "same")) for folder in ("a", "b"))
    with pytest.raises(TaskError, match="two have one name, same, same"):
        run_campaign(small_plan(tmp_path, tiles, tasks=tasks), tmp_path / "run", workers=1, progress=False)


def test_evaluate_with_a_task(task_folder, tmp_path, capsys):
    data, out = write_tiles(tmp_path / "data", 2), tmp_path / "result.json"
    options = ["--ratio", "1/12", "--snr", "3", "--decoder", "lite", "--task", str(task_folder), "--json", str(out)]
    assert main(["evaluate", "--data", str(data), *options]) == 0
    result = json.loads(out.read_text())
    assert 0 <= result["accuracy"] <= 1 and 0 <= result["agreement"] <= 1 and 0 <= result["task_loss"] <= 1
    assert "tiny: accuracy" in capsys.readouterr().out
    assert main(["evaluate", "--limit", "4", *options]) == 0  # the Landsat sample has no labels
    result = json.loads(out.read_text())
    assert "agreement" in result and "accuracy" not in result
    assert main(["evaluate", "--limit", "4", *options[:-4], "--task", "nowhere"]) == 1
    assert "task 'nowhere' is not here" in capsys.readouterr().err


def test_loopback_keeps_what_the_task_found(task_folder, tmp_path):
    pytest.importorskip("gnuradio.djscc")
    options = ["--ratio", "1/12", "--snr", "12", "--decoder", "lite", "--limit", "4", "--task", str(task_folder)]
    assert main(["loopback", *options, "--run", str(tmp_path / "run")]) == 0
    tiles = RunLog(tmp_path / "run").tiles()
    assert len(tiles) == 4 and all(set(tile["tasks"]["tiny"]) == {"decision", "original", "loss"} for tile in tiles)


def test_the_benchmark_measures_a_task(task_folder, tiles, monkeypatch):
    monkeypatch.setenv("DJSCC_TASKS", str(task_folder.parent))
    result = bench.run(tiles, ["tiny"], load_codec("adaptive", "lite"))["tiny"]
    assert result["clean_accuracy"]["percent"] == pytest.approx(100 / 3, abs=34) and result["published_percent"] is None
    assert set(result["received"]) == {f"{ratio} at {snr:g} dB" for ratio, snr in bench.POINTS}
    assert set(result["received"]["1/12 at 0 dB"]) == {"accuracy", "agreement", "task_loss"}
    eight = [images.tobytes() for images in bench.symmetries(tiles.images[:1])]
    assert len(set(eight)) == 8 and eight[0] == tiles.images[:1].tobytes()
    with pytest.raises(ImageError, match="have no labels"):
        bench.run(TileSet(tiles.images, tiles.names), ["tiny"], load_codec("adaptive", "lite"))


def test_receive_decides_without_originals(task_folder, tmp_path):
    pytest.importorskip("gnuradio.djscc")
    image, samples, run = DATA / "landsat" / "r0c0.png", tmp_path / "image.cf32", tmp_path / "run"
    assert main(["transmit", str(image), "--sink", f"file:{samples}"]) == 0
    options = ["--decoder", "lite", "--task", str(task_folder)]
    assert main(["receive", "--source", f"file:{samples}", "--run", str(run), *options]) == 0
    (record,) = RunLog(run).records()
    assert {tuple(tile["tasks"]["tiny"]) for tile in record["tiles"]} == {("decision", "confidence")}
    assert 1 / 3 < record["tasks"]["tiny"]["confidence"] <= 1
