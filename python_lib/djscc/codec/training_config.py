# SPDX-License-Identifier: GPL-3.0-or-later
"""All settings of a training run, read from one YAML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from djscc.errors import DjsccError


class ConfigError(DjsccError):
    """A training configuration that cannot be used; the message names the key."""


@dataclass
class TrainingConfig:
    """All of a training run. ``snr_db`` and ``layers_sent`` are the ranges that each image draws from, uniformly and
    log-uniformly; the ``*_rate`` are the shares of images to which an impairment is applied. ``channels`` are presets or files
    of ``djscc.channels``: each step goes over one of them in turn, in place of the fading that is built in. ``recolour_rate``
    is the share of images whose bands are changed at random, for scenes whose colours the training data lack. ``initial`` is a
    codec, by name or folder, whose weights the training starts from; the networks may have more ``blocks`` than that codec's.
    ``objective`` are the weights of what is minimised (``djscc.codec.objectives``)."""

    name: str
    data: dict[str, list[str]]
    layers: int
    encoder: dict[str, Any]
    decoders: dict[str, dict[str, Any]]
    steps: int
    bands: int = 3
    batch: int = 64
    seed: int = 1
    lr: float = 1e-3
    optimiser: str = "adamw"
    weight_decay: float = 0.0
    warmup: int = 200
    decay_share: float = 0.5
    gradient_clip: float = 1.0
    precision: str = "bf16"
    augment: bool = True
    recolour_rate: float = 0.0
    initial: str | None = None
    snr_db: tuple[float, float] = (-10.0, 22.0)
    layers_sent: tuple[int, int] = (2, 48)
    told_rate: float = 0.7
    told_error_db: float = 1.0
    estimate_error_db: float = 0.4
    fading_rate: float = 0.25
    truncation_rate: float = 0.15
    erasure_rate: float = 0.15
    phase_rate: float = 0.2
    channels: list[str] = field(default_factory=list)
    peak_weight: float = 0.0
    peak_power: float = 4.0
    objective: dict[str, Any] = field(default_factory=lambda: {"log_mse": 1.0})
    decoder_weights: dict[str, float] = field(default_factory=dict)
    validate_every: int = 500
    validation_tiles: int = 512
    validation_points: list[tuple[int, float]] = field(default_factory=list)

    @staticmethod
    def load(path: str | Path, changes: Sequence[str] = ()) -> TrainingConfig:
        """Read a YAML file; ``changes`` are ``key=value`` texts that replace what it says. ConfigError for bad keys."""
        raw = read_settings(TrainingConfig, path, changes)
        try:
            config = TrainingConfig(**raw)
            config.check()
        except (TypeError, ConfigError) as error:
            raise ConfigError(f"{path}: {error}") from error
        return config

    def check(self) -> None:
        """Raises ConfigError for what is no configuration, or would train something else than it says."""
        folders = self.data if isinstance(self.data, dict) else {}
        for key in ("train", "validation"):
            if not folders.get(key) or not isinstance(folders[key], list):
                raise ConfigError(
                    f"data: give lists of folders, data: {{train: [...], validation: [...]}}; {key} is missing"
                )
        if not self.decoders or not isinstance(self.decoders, dict):
            raise ConfigError("decoders: give one or more by name, such as {lite: {family: ...}}")
        for name, network in {"encoder": self.encoder, **self.decoders}.items():
            if not isinstance(network, dict):
                raise ConfigError(
                    f"{name} is {network!r}: give a family and its options, such as {{family: reference}}"
                )
        for key, kind in (("snr_db", (int, float)), ("layers_sent", int)):
            limits = getattr(self, key)
            pair = isinstance(limits, list | tuple) and len(limits) == 2 and all(isinstance(v, kind) for v in limits)
            if not pair or limits[0] > limits[1]:
                raise ConfigError(f"{key} is {limits!r}: give the least and the most, [low, high]")
        counts = ("layers", "steps", "batch", "bands", "validate_every", "validation_tiles")
        if least := [key for key in counts if getattr(self, key) < 1]:
            raise ConfigError(f"{', '.join(least)} must be at least 1")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision is {self.precision!r}: give {' or '.join(PRECISIONS)}")
        if not isinstance(self.channels, list) or not all(isinstance(name, str) for name in self.channels):
            raise ConfigError(f"channels is {self.channels!r}: give a list of presets or files, such as [awgn]")
        if not isinstance(self.decoder_weights, dict):
            raise ConfigError(
                f"decoder_weights is {self.decoder_weights!r}: give numbers by decoder, such as {{lite: 0.5}}"
            )
        if unknown := sorted(set(self.decoder_weights) - set(self.decoders)):
            raise ConfigError(
                f"decoder_weights: {', '.join(unknown)} is none of the decoders {', '.join(self.decoders)}"
            )
        if not isinstance(self.validation_points, list):
            raise ConfigError(f"validation_points is {self.validation_points!r}: give a list of pairs")
        for point in self.validation_points:
            pair = (
                isinstance(point, list | tuple) and len(point) == 2 and all(isinstance(v, int | float) for v in point)
            )
            if not pair or point[0] not in range(1, self.layers + 1):
                raise ConfigError(
                    f"validation_points: {point!r}; give pairs of layers (1 to {self.layers}) and Es/N0 in dB, such as "
                    f"[{self.layers}, 0]"
                )
        low, high = self.layers_sent
        if low < 1 or high > self.layers:
            raise ConfigError(
                f"layers_sent is [{low}, {high}], the networks have 1 to {self.layers} layers; give a range of those"
            )
        if self.encoder.get("family") == "reference" and low != self.layers:
            raise ConfigError(
                f"the reference architecture sends all its layers: give layers_sent: [{self.layers}, {self.layers}]"
            )


PRECISIONS = ("bf16", "fp32")
FREE = {"steps", "validate_every", "validation_tiles", "validation_points"}  # what may change when a training goes on


def keep_settings(path: Path, settings: Mapping[str, Any], going_on: bool) -> None:
    """Write a training's settings to ``path``; ConfigError where it goes on from a checkpoint and those there are others."""
    text = yaml.safe_dump(dict(settings), sort_keys=False)
    if going_on and path.is_file():
        try:
            before, now = yaml.safe_load(path.read_text()), yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: damaged ({error}); restore it, or give another --out folder") from error
        if not isinstance(before, dict):
            raise ConfigError(f"{path}: damaged, it holds no settings; restore it, or give another --out folder")
        if differing := sorted(k for k in before.keys() | now.keys() if k not in FREE and before.get(k) != now.get(k)):
            was = ", ".join(f"{k}: {before.get(k)!r} there, {now.get(k)!r} now" for k in differing)
            raise ConfigError(f"{path.parent}: holds a training with other settings ({was}); give another --out folder")
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def read_settings(kind: type[Any], path: str | Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """What a YAML file says of the fields of the dataclass ``kind``, with ``changes``, ``key=value`` texts, over it.

    Fields of type int and float are numbers by then, also where YAML takes 3e-4 for a text. ConfigError names the bad key.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must be a mapping of settings, see the shipped configurations")
    for change in changes:
        key, separator, value = change.partition("=")
        if not separator:
            raise ConfigError(f"--set {change!r}: write it as key=value")
        try:
            raw[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {change!r}: {value!r} is no YAML ({error})") from error
    types = {f.name: f.type for f in dataclasses.fields(kind)}
    if unknown := sorted(set(raw) - types.keys()):
        raise ConfigError(f"{path}: unknown setting {', '.join(unknown)}; known are {', '.join(sorted(types))}")
    for key, value in raw.items():
        if types[key] in ("int", "float"):
            try:
                number = float(value)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{path}: {key} {value!r} is no number") from error
            if types[key] == "int" and not number.is_integer():
                raise ConfigError(f"{path}: {key} {value!r} is no whole number")
            raw[key] = number if types[key] == "float" else value if isinstance(value, int) else int(number)
    return raw
