# SPDX-License-Identifier: GPL-3.0-or-later
"""All settings of a task's training, read from one YAML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from djscc.codec.training_config import ConfigError, read_settings


@dataclass
class TaskTrainingConfig:
    """All of a training run. ``network`` is ``family`` and options of :class:`djscc.tasks.networks.Classifier`; ``initial`` is a
    task whose weights it starts from, and ``network`` then what is to differ, such as the size. ``zoom``, ``brightness``,
    ``contrast`` and ``saturation`` are the ranges of factors and ``shift`` the share of the side that augmentation draws from,
    uniformly. ``received`` is a section of :class:`djscc.tasks.received.ReceivedConfig`; empty trains on images as they are."""

    name: str
    data: dict[str, list[str]]
    steps: int
    network: dict[str, Any] = field(default_factory=dict)
    kind: str = "classification"
    initial: str = ""
    batch: int = 128
    seed: int = 1
    lr: float = 2e-3
    optimiser: str = "muon"
    weight_decay: float = 0.05
    warmup: int = 100
    decay_share: float = 0.5
    gradient_clip: float = 5.0
    precision: str = "bf16"
    label_smoothing: float = 0.1
    symmetries: bool = True
    zoom: tuple[float, float] = (0.8, 1.25)
    shift: float = 0.1
    brightness: tuple[float, float] = (0.85, 1.15)
    contrast: tuple[float, float] = (0.8, 1.25)
    saturation: tuple[float, float] = (0.8, 1.25)
    received: dict[str, Any] = field(default_factory=dict)
    validate_every: int = 500
    validation_tiles: int = 2700

    @staticmethod
    def load(path: str | Path, changes: Sequence[str] = ()) -> TaskTrainingConfig:
        """Read a YAML file; ``changes`` are ``key=value`` texts that replace what it says. ConfigError for bad keys."""
        raw = read_settings(TaskTrainingConfig, path, changes)
        for key in _RANGES & raw.keys():
            raw[key] = _range(path, key, raw[key])
        try:
            config = TaskTrainingConfig(**raw)
        except TypeError as error:
            raise ConfigError(f"{path}: {error}") from error
        if not config.initial and not (isinstance(config.network, dict) and config.network.get("family")):
            raise ConfigError(
                f"{path}: network {config.network!r} names no family; write it like {{family: efficientvit_m2}}"
            )
        if not (isinstance(config.data, dict) and {"train", "validation"} <= config.data.keys()):
            raise ConfigError(f"{path}: data must name the folders of train and validation")
        config.data = {k: [v] if isinstance(v, str) else [str(p) for p in v or ()] for k, v in config.data.items()}
        if config.kind != "classification":
            raise ConfigError(f"{path}: kind {config.kind!r} cannot be trained here; known is classification")
        if min(config.steps, config.batch, config.validate_every, config.validation_tiles) < 1:
            raise ConfigError(f"{path}: steps, batch, validate_every and validation_tiles must be at least 1")
        return config


def _range(path: str | Path, key: str, value: Any) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {key} {value!r} must be two numbers, lowest and highest") from error
    if not 0 < low <= high:
        raise ConfigError(f"{path}: {key} {value!r} must be lowest and highest, above 0")
    return low, high


_RANGES = {f.name for f in dataclasses.fields(TaskTrainingConfig) if "tuple" in str(f.type)}
