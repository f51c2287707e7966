# SPDX-License-Identifier: GPL-3.0-or-later
"""What a channel is: one description in YAML for training, evaluation, the loopback, campaigns and GNU Radio blocks.

``load_channel("rician-k10")`` reads a preset, ``load_channel("my.yaml")`` a file. Es/N0 is per complex symbol at the output of
the matched filter. Signs: a positive frequency offset or ``clock_ppm`` is what an approaching transmitter causes: its carrier or
its sample clock is fast as the receiver sees it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from djscc.channels.fading_parameters import NtnTdl, Rayleigh, Rician, ShadowedRician, TwoState
from djscc.channels.hardware_parameters import FrontEnd, Rapp, Saleh
from djscc.channels.pass_parameters import Link, Orbit
from djscc.channels.schema import ChannelError, build, plain, require, suggest

PRESETS = Path(__file__).parents[1] / "data" / "channels"


@dataclass(frozen=True)
class ChannelDescription:
    """A whole channel. What is left at its default is absent from the channel and costs nothing."""

    name: str = "custom"
    about: str = ""
    snr_db: float | None = None
    """Mean Es/N0, with the fading at its mean power; over a pass with a link, the largest of the pass. None leaves it to the
    link budget, or adds no noise where there is none."""
    gain_db: float = 0.0
    """Level at the receiver's input, of signal and noise alike."""
    cfo_hz: float = 0.0
    clock_ppm: float = 0.0
    delay_samples: float = 0.0
    fading: Rayleigh | Rician | ShadowedRician | TwoState | NtnTdl | None = None
    transmitter: FrontEnd | None = None
    amplifier: Saleh | Rapp | None = None
    orbit: Orbit | None = None
    link: Link | None = None
    receiver: FrontEnd | None = None

    def __post_init__(self) -> None:
        late = self.delay_samples >= 0
        require(late, "delay_samples", self.delay_samples, "A channel cannot answer early: use 0 or more.")
        require(abs(self.clock_ppm) <= 1000, "clock_ppm", self.clock_ppm, "Clocks are within +-1000 ppm.")
        if self.link is not None:
            if self.orbit is None:
                raise ChannelError("link: a link budget needs an orbit; add a section orbit")
            if self.link.exceeded_percent is not None:
                lowest = self.orbit.min_elevation_deg
                require(
                    lowest >= 5, "orbit.min_elevation_deg", lowest, "The attenuations of P.618 and P.676 hold from 5."
                )

    def to_dict(self) -> dict[str, Any]:
        """The mapping that ``load_channel`` reads back as an equal description (JSON and YAML can hold it)."""
        return plain(self)

    def replace(self, changes: Mapping[str, Any] | None = None, /, **keywords: Any) -> ChannelDescription:
        """Return a copy with other values.

        A key is a field of the description (``snr_db=3``), a dotted key (``{"fading.k_db": 10}``), or the name of a field that
        just one section of this description has (``k_db=10``). Raises ChannelError for a key that the channel does not have.
        """
        mapping = self.to_dict()
        for key, value in {**(changes or {}), **keywords}.items():
            section, name = self._locate(key)
            target = mapping
            for part in section:
                target = target[part]
            target[name] = plain(value)
        return build(ChannelDescription, mapping)

    def _locate(self, key: str) -> tuple[tuple[str, ...], str]:
        places = dict(_places(self, ()))
        *section, name = key.split(".")
        if section:
            if name in places.get(tuple(section), ()):
                return tuple(section), name
        else:
            found = [()] if name in places[()] else [place for place, names in places.items() if name in names]
            if len(found) == 1:
                return found[0], name
            if len(found) > 1:
                options = " or ".join(".".join((*place, name)) for place in found)
                raise ChannelError(f"{key}: channel {self.name} has it more than once; write {options}")
        known = {word for place, names in places.items() for name in names for word in (name, ".".join((*place, name)))}
        raise ChannelError(f"{key}: channel {self.name} has no such value. {suggest(key, known)}")


def load_channel(source: str | Path | Mapping[str, Any] | ChannelDescription) -> ChannelDescription:
    """Read a channel from a preset's name, a YAML file, or a mapping.

    Raises ChannelError for an unknown name, key or value. ``presets()`` lists the names.
    """
    if isinstance(source, ChannelDescription):
        return source
    if isinstance(source, Mapping):
        return build(ChannelDescription, source)
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        if str(source) not in presets():
            hint = suggest(str(source), presets())
            raise ChannelError(f"channel: {str(source)!r} is no preset and no .yaml file. {hint}")
        path = PRESETS / f"{source}.yaml"
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ChannelError(f"channel: cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ChannelError(f"channel: {path} is not valid YAML: {error}") from None
    if not isinstance(mapping, Mapping):
        raise ChannelError(f"channel: {path} holds {mapping!r}; expected keys and values")
    return build(ChannelDescription, {"name": path.stem, **mapping})


def presets() -> list[str]:
    """Names of the channels that the library ships."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _places(section: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Every section of a description with the names of its fields."""
    fields = dataclasses.fields(section)
    found = [(path, [field.name for field in fields])]
    for field in fields:
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            found += _places(value, (*path, field.name))
    return found
