# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiles of three made-up classes, and a small classifier with random weights, for tests of tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from djscc.tasks.classification import save_classification
from djscc.tasks.networks import Classifier
from djscc.tasks.training_config import TaskTrainingConfig
from PIL import Image

CLASSES = ("Field", "Forest", "Water")
COLOURS = ((170, 150, 90), (40, 90, 40), (30, 60, 130))
NETWORK = {"family": "resnet8", "width": 4}


def write_tiles(folder: Path, each: int = 8, seed: int = 0) -> Path:
    """``each`` tiles of 64 x 64 a class, one folder a class: noise about a colour of its own."""
    rng = np.random.default_rng(seed)
    for name, colour in zip(CLASSES, COLOURS, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            tile = np.clip(rng.normal(colour, 25, (64, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(tile).save(folder / name / f"{name}_{i}.png")
    return folder


def write_task(folder: Path, name: str = "tiny", seed: int = 0) -> Path:
    """A task's folder with an untrained network."""
    torch.manual_seed(seed)
    config = training(folder.parent, name=name)
    save_classification(folder, Classifier(classes=3, **NETWORK), CLASSES, {**vars(config)}, {"accuracy": 1 / 3})
    return folder


def training(tiles: Path, **changes: object) -> TaskTrainingConfig:
    """A training of a few seconds."""
    settings = {
        "name": "tiny",
        "data": {"train": [str(tiles)], "validation": [str(tiles)]},
        "network": dict(NETWORK),
        "steps": 24,
        "batch": 12,
        "lr": 1e-2,
        "warmup": 2,
        "precision": "fp32",
        "validate_every": 8,
        "validation_tiles": 24,
    }
    return TaskTrainingConfig(**(settings | changes))  # type: ignore[arg-type]
