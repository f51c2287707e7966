# SPDX-License-Identifier: GPL-3.0-or-later
"""A campaign's plan: which codecs, ratios, SNRs and channels to send which images over. One YAML file."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from djscc import DATA
from djscc.campaign.runlog import SAFE_NAME
from djscc.errors import DjsccError
from djscc.quality import METRICS

LEVELS = ("flowgraph", "symbols")


class PlanError(DjsccError):
    """A plan that cannot be used; the message names the key and the remedy."""


def parse_ratio(text: str | float) -> float:
    """A ratio k/n as ``1/12`` or ``0.0833``, above 0 and at most 1."""
    try:
        value = float(Fraction(str(text).strip()))
    except (ValueError, ZeroDivisionError) as error:
        raise PlanError(f"ratio {text!r} is no number; write it like 1/12 or 0.0833") from error
    if not 0 < value <= 1:
        raise PlanError(f"ratio {text!r} is not between 0 and 1; it is channel symbols per source sample, like 1/12")
    return value


def resolve_data(name: str | Path) -> Path:
    """The folder that ``name`` stands for: ``landsat`` is the shipped sample, all else a path."""
    return DATA / "landsat" if str(name) == "landsat" else Path(name)


AXES: dict[str, Callable[[Any], Any]] = {
    "codecs": str, "channels": str, "ratios": parse_ratio, "snr_db": float, "seeds": int,
}  # fmt: skip
"""What a point is one choice of, in this order."""


@dataclass(frozen=True)
class Point:
    """One point of a campaign: one codec, channel, ratio, Es/N0 and seed; ``snr_db`` None leaves it to a link budget."""

    codec: str
    channel: str
    ratio: float
    snr_db: float | None
    seed: int

    def __post_init__(self) -> None:
        if not SAFE_NAME.match(self.key):
            raise PlanError(
                f"{self.key!r}: points need names that are safe as file names; use letters, digits, -_.+ for codecs and channels"
            )

    @property
    def key(self) -> str:
        """The point's name, which is safe as a file name."""
        codec, channel = Path(self.codec).name, Path(self.channel).name.removesuffix(".yaml")
        snr = "link" if self.snr_db is None else f"{self.snr_db:+g}"
        return f"{codec}_{channel}_r{self.ratio:.6g}_snr{snr}_s{self.seed}"


@dataclass(frozen=True)
class Plan:
    """All settings of a campaign; every field may stand in the YAML file.

    ``level`` is ``flowgraph`` (the whole chain as a running GNU Radio flowgraph) or ``symbols`` (codec and symbol-level channel
    only). ``told`` is whether the encoder is told the nominal Es/N0, ``by_content`` whether tiles get layers by their
    content: false, mse (or true) for the least squared error, psnr for the best mean of the tiles' PSNRs. All tiles are sent
    ``repeat`` times. ``impairments`` replace values of the channel. ``beside`` holds further points, for codecs that serve only a
    few: mappings of codecs, channels, ratios, snr_db, seeds, with the plan's where one is left out. ``tasks`` judge what was
    received beside the ``metrics``: names of ``djscc.tasks``, or their folders.
    """

    name: str
    ratios: tuple[float, ...]
    snr_db: tuple[float, ...]
    data: str = "landsat"
    limit: int | None = None
    level: str = "flowgraph"
    codecs: tuple[str, ...] = ("adaptive",)
    decoder: str | None = None
    channels: tuple[str, ...] = ("awgn",)
    impairments: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (1,)
    told: bool = False
    by_content: bool | str = False
    repeat: int = 1
    tiles_per_frame: int = 64
    symbol_rate: float = 1e6
    pictures: int = 16
    metrics: tuple[str, ...] = ("mse", "psnr_db", "ssim", "ms_ssim", "lpips")
    beside: tuple[dict[str, Any], ...] = ()
    tasks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise PlanError(f"level {self.level!r} is unknown; known are {', '.join(LEVELS)}")
        if self.by_content not in (False, True, "mse", "psnr"):
            raise PlanError(f"by_content {self.by_content!r} is unknown; known are false, mse (or true), psnr")
        for axes in self.beside:
            if unknown := sorted(set(axes) - set(AXES)):
                raise PlanError(f"beside: unknown setting {', '.join(unknown)}; known are {', '.join(AXES)}")
        snrs = {*self.snr_db, *(s for axes in self.beside for s in axes.get("snr_db", ()))}
        if bad := sorted(s for s in snrs if not (math.isfinite(s) and -100 < s < 100)):
            raise PlanError(f"snr_db {bad} is not in dB between -100 and 100")
        if unknown := sorted(set(self.metrics) - set(METRICS)):
            raise PlanError(f"metrics {', '.join(unknown)} are unknown; known are {', '.join(METRICS)}")
        if min(self.tiles_per_frame, self.repeat, self.pictures + 1) < 1 or min((*self.seeds, 0)) < 0:
            raise PlanError("tiles_per_frame and repeat must be at least 1, pictures and seeds at least 0")
        if not isinstance(self.impairments, dict):
            raise PlanError(f"impairments {self.impairments!r} must be a mapping, such as {{cfo_hz: 1000}}")
        keys = Counter(point.key for point in self.points())
        if twice := [key for key, count in keys.items() if count > 1]:
            raise PlanError(
                f"points need names of their own, {twice[0]!r} is there twice; name codecs and channel files apart"
            )

    @staticmethod
    def load(path: str | Path, **changes: Any) -> Plan:
        """Read a plan; ``changes`` replace what it says. PlanError for anything that is wrong in it."""
        try:
            raw = yaml.safe_load(Path(path).read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise PlanError(f"plan {path}: cannot be read as YAML ({error})") from error
        if not isinstance(raw, dict):
            raise PlanError(f"plan {path}: must be a mapping of settings; see the shipped plans in {DATA / 'plans'}")
        raw |= {k: v for k, v in changes.items() if v is not None}
        known = {f.name for f in dataclasses.fields(Plan)}
        if unknown := sorted(set(raw) - known):
            raise PlanError(f"plan {path}: unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        for key in ("ratios", "snr_db", "name"):
            if key not in raw:
                raise PlanError(f"plan {path}: {key} is missing")
        try:
            raw |= _axes(raw)
            for key in ("metrics", "tasks"):
                if key in raw:
                    raw[key] = tuple(str(v) for v in _listed(raw[key] or ()))
            raw["beside"] = tuple(dict(axes) | _axes(axes) for axes in _listed(raw.get("beside") or ()))
            for key in ("tiles_per_frame", "repeat", "pictures"):
                if key in raw:
                    raw[key] = int(raw[key])
            if "symbol_rate" in raw:
                raw["symbol_rate"] = float(raw["symbol_rate"])
            return Plan(**raw)
        except (TypeError, ValueError) as error:
            raise PlanError(f"plan {path}: {error}") from error

    def points(self) -> Iterator[Point]:
        """Every point of the plan, in a fixed order."""
        whole = {name: getattr(self, name) for name in AXES}
        for axes in (whole, *(whole | dict(further) for further in self.beside)):
            for values in itertools.product(*(axes[name] for name in AXES)):
                yield Point(*values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as run.yaml keeps them; what a plan need not hold is left out when it is empty."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v or k not in ("beside", "tasks")}


def _axes(raw: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The axes that a mapping of settings holds, as tuples of the right kind."""
    return {name: tuple(kind(v) for v in _listed(raw[name])) for name, kind in AXES.items() if name in raw}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
