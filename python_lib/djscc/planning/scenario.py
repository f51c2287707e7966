# SPDX-License-Identifier: GPL-3.0-or-later
"""A planning scenario: users, their channels and wishes, and what they share. One YAML file."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from djscc.campaign import PlanError, parse_ratio
from djscc.errors import DjsccError
from djscc.semantic_loss import LOSSES, MetricError, loss_of_metric

THERMAL_NOISE_290_K_DBW_HZ = -203.98


class ScenarioError(DjsccError):
    """A scenario that cannot be used; the message names the file, the key and the remedy."""


@dataclass(frozen=True)
class User:
    """One receiver of images.

    ``gain_db`` is received over transmitted power, antennas and all losses counted; ``margin_db`` how much lower it may be in the
    worst case that is planned for. ``image`` is height, width and bands of each of the ``images`` to be sent within the deadline.
    ``metric`` are the metrics and task results that count for this user, each with its weight: its performance is the worst of
    them. ``weight`` multiplies every loss: at 2 a loss counts twice. ``wanted`` are values of some of these metrics that are to be
    reached with the least power or bandwidth. ``codec`` and ``channel`` choose among models that were fitted for several.
    """

    name: str
    gain_db: float
    metric: Mapping[str, float] = field(default_factory=lambda: {"ssim": 1.0})
    weight: float = 1.0
    margin_db: float = 0.0
    wanted: Mapping[str, float] = field(default_factory=dict)
    codec: str | None = None
    channel: str | None = None
    image: tuple[int, int, int] = (64, 64, 3)
    images: int = 1

    @property
    def samples(self) -> int:
        """Source samples n of all images."""
        return math.prod(self.image) * self.images


@dataclass(frozen=True)
class Scenario:
    """Users that share power, bandwidth and time on orthogonal channel uses.

    In ``deadline_s`` a bandwidth of ``bandwidth_hz`` carries bandwidth x deadline / (1 + roll_off) symbols, of which the share
    ``overhead`` / (1 + overhead) is preambles, headers and pilots, sent at the power of the payload beside them. Whether the users
    share by frequency or by time makes no difference: the sum of their symbols and the sum of their energies are limited.
    ``confidence`` plans with the upper bound of each loss at that level instead of its mean; ``ratios`` limits the choice.
    """

    name: str
    power_w: float
    bandwidth_hz: float
    deadline_s: float
    users: tuple[User, ...]
    noise_density_dbw_hz: float = THERMAL_NOISE_290_K_DBW_HZ
    roll_off: float = 0.25
    overhead: float = 0.15
    confidence: float | None = None
    ratios: tuple[float, ...] | None = None

    @property
    def symbols(self) -> float:
        """Payload symbols that all users together can be sent."""
        return self.bandwidth_hz * self.deadline_s / (1 + self.roll_off) / (1 + self.overhead)

    @property
    def energy_j(self) -> float:
        """Transmit energy for payload symbols that all users together can be given."""
        return self.power_w * self.deadline_s / (1 + self.overhead)

    @property
    def noise_density_w_hz(self) -> float:
        return 10 ** (self.noise_density_dbw_hz / 10)


def _number(value: Any, where: str, low: float, high: float, whole: bool = False) -> float:
    if isinstance(value, str):  # YAML reads 2e6 as text
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ScenarioError(f"{where}: {value!r} is not a number")
    if not low <= value <= high or (whole and value != int(value)):
        raise ScenarioError(
            f"{where}: {value:g} is not {'a whole number ' if whole else ''}between {low:g} and {high:g}"
        )
    return value


def _keys(data: Any, where: str, kind: type) -> Mapping[str, Any]:
    """``data`` as a mapping with known keys, and all that have no default."""
    if not isinstance(data, Mapping):
        raise ScenarioError(f"{where}: is no mapping of keys to values")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    for key in data:
        if key not in fields:
            raise ScenarioError(f"{where}: key {key!r} is not known; known are {', '.join(fields)}")
    for key, entry in fields.items():
        if entry.default is entry.default_factory is dataclasses.MISSING and key not in data:
            raise ScenarioError(f"{where}: key {key!r} is missing")
    return data


def _metrics(data: Any, where: str) -> dict[str, float]:
    """Metrics and their weights, from a name, a list of names, or a mapping of names to weights."""
    names = list(data) if isinstance(data, Mapping | list | tuple) else [data]
    weights = data if isinstance(data, Mapping) else dict.fromkeys(names, 1)
    if not names:
        raise ScenarioError(f"{where}: name at least one of {', '.join(LOSSES)}")
    for metric in names:
        try:
            loss_of_metric(str(metric))
        except MetricError as error:
            raise ScenarioError(f"{where}: {str(error).removeprefix('metric ')}") from error
    return {metric: _number(weight, f"{where}, {metric}", 1e-3, 1e3) for metric, weight in weights.items()}


def _wanted(data: Any, metrics: Mapping[str, float], where: str) -> dict[str, float]:
    """Wanted values by metric, from a mapping, or from a number where the user has one metric."""
    if not isinstance(data, Mapping):
        if len(metrics) > 1:
            raise ScenarioError(
                f"{where}: {data!r} is for which of {', '.join(metrics)}? Write {{{next(iter(metrics))}: {data}}}"
            )
        data = {next(iter(metrics)): data}
    for metric in data:
        if metric not in metrics:
            raise ScenarioError(f"{where}: {metric!r} is not one of this user's metrics ({', '.join(metrics)})")
    return {metric: _number(value, f"{where}, {metric}", -1e3, 1e3) for metric, value in data.items()}


def _user(data: Any, where: str) -> User:
    data = _keys(data, where, User)
    user: dict[str, Any] = {"name": str(data["name"])}
    where = f"{where} ({user['name']})"
    ranges = {"gain_db": (-300, 100), "weight": (1e-3, 1e3), "margin_db": (0, 100), "images": (1, 1e9)}
    for key, (low, high) in ranges.items():
        if key in data:
            user[key] = _number(data[key], f"{where}, {key}", low, high, whole=key == "images")
    if "images" in user:
        user["images"] = int(user["images"])
    if "metric" in data:
        user["metric"] = _metrics(data["metric"], f"{where}, metric")
    if data.get("wanted") is not None:
        user["wanted"] = _wanted(data["wanted"], user.get("metric", {"ssim": 1.0}), f"{where}, wanted")
    user |= {key: str(data[key]) for key in ("codec", "channel") if data.get(key) is not None}
    if "image" in data:
        size = data["image"]
        if not isinstance(size, list | tuple) or len(size) != 3:
            raise ScenarioError(f"{where}, image: {size!r} is not [height, width, bands]")
        user["image"] = tuple(int(_number(v, f"{where}, image", 1, 1e6, whole=True)) for v in size)
    return User(**user)


def parse_scenario(data: Any, where: str = "scenario") -> Scenario:
    """A scenario from a mapping; raises ScenarioError that begins with ``where`` and names the key."""
    data = _keys(data, where, Scenario)
    scenario: dict[str, Any] = {"name": str(data["name"])}
    ranges = {
        "power_w": (1e-9, 1e9),
        "bandwidth_hz": (1, 1e12),
        "deadline_s": (1e-6, 1e9),
        "noise_density_dbw_hz": (-300, 0),
        "roll_off": (0, 1),
        "overhead": (0, 100),
        "confidence": (0.5, 0.999),
    }
    for key, (low, high) in ranges.items():
        if key in data and not (key == "confidence" and data[key] is None):
            scenario[key] = _number(data[key], f"{where}, {key}", low, high)
    users = data["users"]
    if not isinstance(users, list) or not users:
        raise ScenarioError(f"{where}, users: give a list of at least one user")
    scenario["users"] = tuple(_user(user, f"{where}, user {i + 1}") for i, user in enumerate(users))
    names = [user.name for user in scenario["users"]]
    if len(set(names)) < len(names):
        raise ScenarioError(
            f"{where}, users: the name {max(names, key=names.count)!r} stands twice; give each user its own"
        )
    if data.get("ratios") is not None:
        try:
            scenario["ratios"] = tuple(sorted({parse_ratio(ratio) for ratio in data["ratios"]}))
        except (TypeError, PlanError) as error:
            raise ScenarioError(f"{where}, ratios: {error}") from error
    return Scenario(**scenario)


def load_scenario(path: str | Path) -> Scenario:
    """Read a scenario from a YAML file; raises ScenarioError that names it."""
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScenarioError(f"{path}: not YAML ({error})") from error
    return parse_scenario(data, str(path))
