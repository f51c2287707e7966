# SPDX-License-Identifier: GPL-3.0-or-later
"""Which radios there are and what lies between them: options of the command line, or YAML."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from djscc.channels import ChannelDescription, load_channel
from djscc.channels.schema import ChannelError, build, plain, require
from djscc.errors import DjsccError
from djscc.virtual_radio.models import MODELS, RadioModel

CLOCKS = ("real", "stream")
THERMAL_DBM_HZ = -174.0  # noise density at 290 K


class VirtualRadioError(DjsccError):
    """An air or a radio that cannot be had."""


@dataclass(frozen=True)
class RadioSettings:
    """One radio."""

    kind: str = "pluto"
    """"pluto" or "usrp": its ranges, levels and protocol."""
    address: str = ""
    """Loopback address that it answers at; by default 127.0.0.1 for the first radio, 127.0.0.2 for the second, and so on."""
    serial: str = ""
    lo_ppm: float = 0.0
    """Error of its local oscillators: their true frequency is (1 + lo_ppm / 10^6) times the one set."""
    clock_ppm: float = 0.0
    """Error of its sample clock, likewise."""
    noise_figure_db: float | None = None
    """None for the kind's own."""
    bits: int | None = None
    """Resolution of its converters; None for the kind's own."""
    buffers: int = 4
    """Buffers that wait in the radio (a Pluto's kernel buffers, until the client asks for another number)."""

    def __post_init__(self) -> None:
        require(self.kind in MODELS, "kind", self.kind, f"Use one of {', '.join(MODELS)}.")
        if self.address:
            try:
                loopback = ipaddress.IPv4Address(self.address).is_loopback
            except ValueError:
                loopback = False
            require(
                loopback,
                "address",
                self.address,
                "Virtual radios answer on loopback only: use 127.0.0.1, 127.0.0.2, ...",
            )
        for key in ("lo_ppm", "clock_ppm"):
            value = getattr(self, key)
            require(abs(value) <= 200, key, value, "Oscillators are within +-200 ppm.")
        if self.bits is not None:
            require(4 <= self.bits <= 16, "bits", self.bits, "Converters have 4 to 16 bits here.")
        require(1 <= self.buffers <= 1024, "buffers", self.buffers, "Use 1 to 1024.")

    @property
    def model(self) -> RadioModel:
        """The ranges and levels of its kind."""
        return MODELS[self.kind]

    def noise_density_dbm(self) -> float:
        """Noise density at its antenna in dBm/Hz."""
        figure = self.model.noise_figure_db if self.noise_figure_db is None else self.noise_figure_db
        return THERMAL_DBM_HZ + figure


@dataclass(frozen=True)
class AirSettings:
    """The radios, and the one path that lies between any two of them and from each one's transmitter to its own receiver."""

    radios: tuple[RadioSettings, ...] = (RadioSettings(),)
    path_loss_db: float = 80.0
    delay_s: float = 0.0
    echoes: tuple[tuple[float, float, float], ...] = ()
    """Multipath: (delay after the direct path in s, gain over it in dB, phase in degrees) of each echo."""
    channel: ChannelDescription | None = None
    """Fading, amplifier and front ends on the path, as every channel is described. Its noise, level, delay, frequency and clock
    errors are not used: the radios and the air say those."""
    own_signal: bool = True
    """Whether a radio hears itself."""
    clock: str = "real"
    """"real": time goes on, late reading loses samples and late writing leaves gaps. "stream": time waits for both."""
    seed: int = 1

    def __post_init__(self) -> None:
        require(0 < len(self.radios) < 255, "radios", len(self.radios), "An air has 1 to 254 radios.")
        require(self.clock in CLOCKS, "clock", self.clock, f"Use one of {', '.join(CLOCKS)}.")
        require(0 <= self.path_loss_db <= 300, "path_loss_db", self.path_loss_db, "Use 0 to 300 dB.")
        require(0 <= self.delay_s <= 10, "delay_s", self.delay_s, "Use 0 to 10 s.")
        for echo in self.echoes:
            require(0 <= echo[0] <= 1e-3, "echoes", echo, "Delays of echoes are 0 to 1 ms.")
        require(self.seed >= 0, "seed", self.seed, "Seeds are 0 or more.")
        if self.channel is not None:
            orbit = self.channel.orbit
            require(orbit is None, "channel.orbit", self.channel.name, "Passes are not rehearsed with virtual radios.")
        addresses = [self.address(i) for i in range(len(self.radios))]
        require(len(set(addresses)) == len(addresses), "radios", addresses, "Give each radio an address of its own.")

    def address(self, index: int) -> str:
        """The address of radio ``index``."""
        return self.radios[index].address or f"127.0.0.{index + 1}"

    def esn0_db(
        self,
        symbol_rate: float,
        level_dbfs: float,
        transmit_gain: float | None = None,
        sender: int = 0,
        receiver: int = -1,
    ) -> float:
        """Es/N0 at the receiver of a signal of this mean power over full scale, sent at this gain (default: the largest)."""
        model = self.radios[sender].model
        gain = model.transmit_gain.high if transmit_gain is None else transmit_gain
        power = model.transmit_level_dbm(gain) + level_dbfs - self.path_loss_db
        return power - self.radios[receiver].noise_density_dbm() - 10 * math.log10(symbol_rate)

    def for_esn0(
        self, snr_db: float, symbol_rate: float, level_dbfs: float, transmit_gain: float | None = None
    ) -> AirSettings:
        """These settings with the path loss that gives the Es/N0 wanted between the first radio and the last."""
        now = self.esn0_db(symbol_rate, level_dbfs, transmit_gain)
        return self.replace(path_loss_db=self.path_loss_db + now - snr_db)

    def replace(self, **changes: Any) -> AirSettings:
        """A copy with other values."""
        return build(AirSettings, {**{key: getattr(self, key) for key in self.__dataclass_fields__}, **changes})

    def to_dict(self) -> dict[str, Any]:
        """The mapping that ``load_air`` reads back."""
        return plain(self)


def load_air(source: str | Path | Mapping[str, Any], kind: str = "pluto") -> AirSettings:
    """Read an air from a YAML file or a mapping; VirtualRadioError names the key, the value and the remedy.

    ``channel`` may be the name of a preset. Radios that do not say their kind, or one where there are none, are of ``kind``.
    """
    mapping: Any = source
    if not isinstance(source, Mapping):
        path = Path(source)
        try:
            mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise VirtualRadioError(f"{path}: cannot be read ({error.strerror}); check the path") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise VirtualRadioError(f"{path} is not valid YAML: {error}") from None
    try:
        if isinstance(mapping, Mapping) and isinstance(mapping.get("channel"), str):
            mapping = {**mapping, "channel": load_channel(mapping["channel"])}
        if isinstance(mapping, Mapping):
            radios = mapping.get("radios", [{}])
            if isinstance(radios, list | tuple):
                radios = [{"kind": kind, **radio} if isinstance(radio, Mapping) else radio for radio in radios]
            mapping = {**mapping, "radios": radios}
        return build(AirSettings, mapping)
    except ChannelError as error:
        raise VirtualRadioError(f"virtual radios: {error}") from None
