# SPDX-License-Identifier: GPL-3.0-or-later
"""How a radio is set: the same names as options of the command line, keys of a YAML file, and in the run log."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from djscc.radio.errors import StreamError

PLUTO_BUFFER = 1 << 14  # samples that a transmitting Pluto is given at once, unless told otherwise


@dataclass(frozen=True)
class RadioSettings:
    """Settings of one front end. None leaves a value as the device has it, where it may.

    address       of the device, where the source or sink does not name it.
    frequency     carrier in Hz.
    gain          dB, on the device's own scale; a Pluto's transmitter takes -89.75 to 0.
    sample_rate   samples per second: symbol rate x samples per symbol.
    symbol_rate   symbols per second.
    samples_per_symbol  2 to 16.
    antenna       name of the port.
    lo_offset     Hz from the carrier to the local oscillator, which keeps its leakage out of the signal.
    clock_source  reference clock, such as internal, external, gpsdo.
    bandwidth     of the analogue filter in Hz.
    buffer_size   samples in one transfer (Pluto).
    """

    address: str | None = None
    frequency: float | None = None
    gain: float | None = None
    sample_rate: float | None = None
    symbol_rate: float | None = None
    samples_per_symbol: int | None = None
    antenna: str | None = None
    lo_offset: float | None = None
    clock_source: str | None = None
    bandwidth: float | None = None
    buffer_size: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, _checked(field.name, str(field.type).split(" ")[0], value))
        for name in ("frequency", "sample_rate", "symbol_rate", "bandwidth", "buffer_size"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise StreamError(f"{name} is {value:g}: give a value above 0")
        if self.sample_rate and self.symbol_rate and self.samples_per_symbol:
            product = self.symbol_rate * self.samples_per_symbol
            if not math.isclose(self.sample_rate, product, rel_tol=1e-9):
                raise StreamError(
                    f"sample_rate is {self.sample_rate:g}, but {self.symbol_rate:g} symbols per second of "
                    f"{self.samples_per_symbol} samples make {product:g}: leave one of the three out"
                )

    def over(self, other: RadioSettings) -> RadioSettings:
        """These settings, and ``other``'s where these say nothing and nothing follows from them."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        both = {**dataclasses.asdict(other), **values}
        rates = ("samples_per_symbol", "symbol_rate", "sample_rate")  # one follows from the two others
        left = [name for name in rates if name not in values]
        if len(left) in (1, 2) and all(both[name] is not None for name in rates):
            both[left[0]] = None
        return RadioSettings(**both)

    def filled_up_to(self, kind: str) -> int:
        """Frames sent by a radio of this kind (``Endpoint.kind``) are filled up to a multiple of so many samples: a Pluto sends
        whole buffers only."""
        return (self.buffer_size or PLUTO_BUFFER) if kind == "pluto" else 1

    @property
    def waveform(self) -> tuple[float, int]:
        """Symbol rate and samples per symbol: as given, or 1e6 and 2."""
        if self.sample_rate is None:
            return self.symbol_rate or 1e6, self.samples_per_symbol or 2
        if self.samples_per_symbol is None:
            count = 2.0 if self.symbol_rate is None else self.sample_rate / self.symbol_rate
            if abs(count - round(count)) > 1e-9 * count:
                raise StreamError(
                    f"sample_rate {self.sample_rate:g} is no whole multiple of symbol_rate {self.symbol_rate:g}: change one of them"
                )
            return self.sample_rate / round(count), round(count)
        return self.sample_rate / self.samples_per_symbol, self.samples_per_symbol

    def to_dict(self) -> dict[str, Any]:
        """What is set, by name, for a log."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}


def load_radio_settings(path: str | Path) -> RadioSettings:
    """Settings from a YAML file; StreamError for a key or value that is none of a radio's."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise StreamError(f"--radio {path}: cannot be read ({error.strerror}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StreamError(f"--radio {path}: not YAML ({error})") from error
    if not isinstance(values, Mapping):
        raise StreamError(f"--radio {path}: holds {values!r}; give keys and values, such as frequency: 2.4e9")
    known = [field.name for field in dataclasses.fields(RadioSettings)]
    if unknown := sorted(str(key) for key in values if key not in known):
        raise StreamError(f"--radio {path}: {', '.join(unknown)} is unknown; a radio has {', '.join(known)}")
    try:
        return RadioSettings(**values)
    except StreamError as error:
        raise StreamError(f"--radio {path}: {error}") from error


def _checked(name: str, kind: str, value: Any) -> Any:
    """``value`` as ``kind``; YAML reads 2.4e9 as text, and so do we."""
    if kind == "str":
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or (kind == "int" and number != int(number)):
        raise StreamError(f"{name} is {value!r}: give a {'whole ' if kind == 'int' else ''}number")
    return int(number) if kind == "int" else number
