# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a classification from one YAML file: ``djscc train-task CONFIG.yaml``, on images as they are or as they are received.

As with a codec (``djscc.codec.training``), every random draw of a step comes from generators seeded by (seed, step), and the
learning rate is a function of the step: a run that was killed goes on from its last checkpoint exactly as if nothing had happened.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from djscc.codec.optimiser import Muon, learning_rate, take_step
from djscc.codec.training import CHECKPOINT, CURVE, device_of, go_on, save_checkpoint, tile_set_of
from djscc.codec.training_config import ConfigError
from djscc.imagery import TileSet
from djscc.tasks.augmentation import change_scale, change_symmetry_and_colours
from djscc.tasks.classification import Classification, save_classification
from djscc.tasks.networks import Classifier
from djscc.tasks.received import ReceivedConfig, Transmission
from djscc.tasks.task import load_task
from djscc.tasks.training_config import TaskTrainingConfig


def optimisers(model: nn.Module, config: TaskTrainingConfig) -> list[torch.optim.Optimizer]:
    """Muon (or AdamW) for convolutions and linear layers, AdamW without decay for norms, biases and all else."""
    matrices = [p for n, p in model.named_parameters() if p.ndim in (2, 4) and n.endswith("weight")]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    if config.optimiser == "muon":
        first: torch.optim.Optimizer = Muon(matrices, lr=config.lr, weight_decay=config.weight_decay)
    elif config.optimiser == "adamw":
        first = torch.optim.AdamW(matrices, lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.99))
    else:
        raise ConfigError(f"optimiser {config.optimiser!r} is unknown; known are adamw, muon")
    return [first, torch.optim.AdamW(others, lr=config.lr, weight_decay=0.0, betas=(0.9, 0.99))]


@torch.inference_mode()
def validate(model: nn.Module, images: Tensor, labels: Tensor, bf16: bool, device: torch.device) -> dict[str, float]:
    """Accuracy and cross-entropy (nats) on uint8 images (N, 3, H, W)."""
    model.eval()
    parts = []
    for part in images.split(128):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            parts.append(model(part.to(device).float() / 255).float().cpu())
    logits = torch.cat(parts)
    accuracy = float((logits.argmax(1) == labels).float().mean())
    return {"accuracy": round(accuracy, 5), "cross_entropy": round(float(F.cross_entropy(logits, labels)), 5)}


def _labelled(paths: list[str], limit: int | None = None) -> TileSet:
    tiles = tile_set_of(paths, limit=limit)
    if tiles.labels is None:
        raise ConfigError(f"data {', '.join(paths)}: has no labels; a classification needs one folder a class")
    return tiles


def _tensors(tiles: TileSet) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(tiles.images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(tiles.labels)


def _begin(config: TaskTrainingConfig, classes: tuple[str, ...]) -> Classifier:
    """A fresh network, or that of the task to start from, whose settings hold where ``network`` has none."""
    torch.manual_seed(config.seed)
    if not config.initial:
        try:
            return Classifier(classes=len(classes), **config.network)
        except (TypeError, ValueError, AssertionError) as error:  # an option that the network does not take
            raise ConfigError(f"network {config.network}: {error}") from error
    task = load_task(config.initial)
    if not isinstance(task, Classification) or task.classes != classes:
        raise ConfigError(f"initial {config.initial!r}: decides between other classes than the training tiles show")
    settings = task.manifest["network"]["settings"]
    changed = settings | config.network
    try:
        model = Classifier(classes=len(classes), **changed)
        model.load_state_dict(task.network.state_dict())
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:  # RuntimeError: weights of other shapes
        raise ConfigError(
            f"network {config.network}: does not take the weights of initial {config.initial!r}, whose network is {settings}; "
            "change size at most, or leave network out"
        ) from error
    config.network = changed
    return model


def train(config: TaskTrainingConfig, out: Path, device_name: str | None = None, progress: bool = True) -> Path:
    """Train (or go on training) in folder ``out``; returns the folder of the finished task, ``out/task``."""
    device = device_of(device_name)
    tiles = _labelled(config.data["train"])
    images, labels = _tensors(tiles)
    validating = _labelled(config.data["validation"], config.validation_tiles)
    if validating.classes != tiles.classes:
        raise ConfigError(
            f"data: training tiles show {', '.join(tiles.classes)}, validation {', '.join(validating.classes)}"
        )
    sets = {"": _tensors(validating)[0]}
    transmission = None
    if config.received:
        transmission = Transmission(ReceivedConfig.of(config.received), device)
        torch.manual_seed(config.seed)
        whole = Transmission(dataclasses.replace(transmission.config, share=1.0), device)
        sent = whole(sets[""].float() / 255, torch.Generator().manual_seed(config.seed))
        sets["received_"] = (sent * 255).round().to(torch.uint8)
    out.mkdir(parents=True, exist_ok=True)
    model = _begin(config, tiles.classes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optims = optimisers(model, config)
    step = go_on(out, _plain(config), config.steps, model, optims)
    bf16 = config.precision == "bf16"
    per_epoch = len(images) // config.batch
    if per_epoch < 1:
        raise ConfigError(f"{len(images)} training tiles are fewer than one batch of {config.batch}")
    order, order_epoch = torch.empty(0), -1
    bar = tqdm(total=config.steps, initial=step, disable=not progress, unit="step", smoothing=0.05)
    started = time.monotonic()
    measured: dict[str, float] = {}
    while step < config.steps:
        epoch, within = divmod(step, per_epoch)
        if epoch != order_epoch:
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed * 7919 + epoch))
            order_epoch = epoch
        seed = config.seed * 1_000_003 + step
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        index = order[within * config.batch :][: config.batch]
        image = change_symmetry_and_colours(images[index].float() / 255, config, generator)
        if transmission is not None:
            image = transmission(image, generator)
        image = change_scale(image, model.size or image.shape[2], config, generator)
        target = labels[index].to(device)
        model.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(image.to(device)).float()
        loss = F.cross_entropy(logits, target, label_smoothing=config.label_smoothing)
        for optim in optims:
            optim.zero_grad(set_to_none=True)
        loss.backward()
        rate = learning_rate(step, config)
        take_step(model, optims, rate, config.gradient_clip)
        step += 1
        bar.update()
        if step % config.validate_every == 0 or step == config.steps:
            line = {"step": step, "lr": round(rate, 7), "seconds": round(time.monotonic() - started, 1)}
            line["loss"] = round(float(loss.detach()), 5)
            measured = _validate_all(model, sets, torch.from_numpy(validating.labels), bf16, device)
            with (out / CURVE).open("a") as file:
                file.write(json.dumps(line | measured) + "\n")
            save_checkpoint(out / CHECKPOINT, model, optims, step)
            bar.set_postfix_str(" ".join(f"{k} {100 * v:.2f} %" for k, v in measured.items() if "accuracy" in k))
    bar.close()
    measured = measured or _validate_all(model, sets, torch.from_numpy(validating.labels), bf16, device)
    save_classification(out / "task", model, tiles.classes, _plain(config), measured)
    return out / "task"


def _validate_all(
    model: nn.Module, sets: dict[str, Tensor], labels: Tensor, bf16: bool, device: torch.device
) -> dict[str, float]:
    return {
        prefix + name: value
        for prefix, images in sets.items()
        for name, value in validate(model, images, labels, bf16, device).items()
    }


def _plain(config: TaskTrainingConfig) -> dict[str, object]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}
