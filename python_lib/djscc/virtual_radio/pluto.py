# SPDX-License-Identifier: GPL-3.0-or-later
"""A Pluto as libiio sees it: its context, and attributes that act on a virtual radio and refuse what a Pluto refuses.

Devices, channels and file names are those of the AD9361 driver on a PlutoSDR Rev. B. Of what they set, frequencies, gains, gain
control and sample rates act on the air; the rest is kept and told (filters, DC and quadrature tracking, tones).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from djscc.virtual_radio.air import Air
from djscc.virtual_radio.radio import OutOfRangeError, Radio, Side

PHY, DAC, ADC = "ad9361-phy", "cf-ad9361-dds-core-lpc", "cf-ad9361-lpc"
DEVICES = {"iio:device0": PHY, "iio:device2": DAC, "iio:device3": ADC}
RATE_WITH_FIR, RATE_WITHOUT_FIR = (
    25e6 / 48,
    25e6 / 12,
)  # the lowest of the AD9361, with its filter at a factor of 4 and without
STATUS_REGISTER = 0x80000088
UNDERFLOW_BIT, OVERFLOW_BIT = 1, 4
GAIN_MODES = ("manual", "fast_attack", "slow_attack", "hybrid")
RX_PORTS = (
    "A_BALANCED",
    "B_BALANCED",
    "C_BALANCED",
    "A_N",
    "A_P",
    "B_N",
    "B_P",
    "C_N",
    "C_P",
    "TX_MONITOR1",
    "TX_MONITOR2",
    "TX_MONITOR1_2",
)

DTD = (  # libiio's parser wants the document type declared
    "<!DOCTYPE context ["
    "<!ELEMENT context (device | context-attribute)*><!ELEMENT context-attribute EMPTY>"
    "<!ELEMENT device (channel | attribute | debug-attribute | buffer-attribute)*>"
    "<!ELEMENT channel (scan-element?, attribute*)><!ELEMENT attribute EMPTY><!ELEMENT scan-element EMPTY>"
    "<!ELEMENT debug-attribute EMPTY><!ELEMENT buffer-attribute EMPTY>"
    "<!ATTLIST context name CDATA #REQUIRED description CDATA #IMPLIED>"
    "<!ATTLIST context-attribute name CDATA #REQUIRED value CDATA #REQUIRED>"
    "<!ATTLIST device id CDATA #REQUIRED name CDATA #IMPLIED>"
    "<!ATTLIST channel id CDATA #REQUIRED type (input|output) #REQUIRED name CDATA #IMPLIED>"
    "<!ATTLIST scan-element index CDATA #REQUIRED format CDATA #REQUIRED scale CDATA #IMPLIED>"
    "<!ATTLIST attribute name CDATA #REQUIRED filename CDATA #IMPLIED>"
    "<!ATTLIST debug-attribute name CDATA #REQUIRED><!ATTLIST buffer-attribute name CDATA #REQUIRED>"
    "]>"
)


@dataclass
class Attribute:
    """One file of the driver; ``write`` is None where it can only be read."""

    name: str
    filename: str
    read: Callable[[], str]
    write: Callable[[str], None] | None = None


@dataclass
class Channel:
    """A channel of a device; ``scan`` is its sample format in a buffer, if it has one."""

    id: str
    output: bool
    name: str = ""
    scan: str = ""
    index: int = 0
    attributes: dict[str, Attribute] = field(default_factory=dict)


def refuse(code: int = errno.EINVAL) -> OSError:
    """The error that a driver answers with."""
    return OSError(code, os.strerror(code))


class Kept:
    """Values that are kept and told, nothing more."""

    def __init__(self, value: str, options: tuple[str, ...] | None = None) -> None:
        self.value, self.options = value, options

    def get(self) -> str:
        """The value."""
        return self.value

    def set(self, value: str) -> None:
        """Another value; refused where there are options and it is none of them."""
        if self.options is not None and value not in self.options:
            raise refuse()
        self.value = value


class Pluto:
    """The context of one virtual Pluto. Its methods take the air's lock themselves."""

    def __init__(self, air: Air, radio: Radio) -> None:
        self.air, self.radio = air, radio
        self._status = 0
        self._counted: dict[
            int, tuple[object, int]
        ] = {}  # by flag: the stream that was looked at, and what it had counted
        self._register = dict.fromkeys(DEVICES.values(), 0)
        self._fir = False
        self._eighth = {"rx": False, "tx": False}
        self._phy_rate = 2.5e6
        self._apply_rate()
        self.channels: dict[str, list[Channel]] = {PHY: self._phy(), DAC: self._dac(), ADC: self._adc()}
        self.attributes: dict[str, dict[str, Attribute]] = {PHY: self._phy_attributes(), DAC: {}, ADC: {}}

    # ------------------------------------------------------------------ reading and writing

    def device(self, id_or_name: str) -> str:
        """The name of a device from its id or name; ENODEV when there is none."""
        name = DEVICES.get(id_or_name, id_or_name)
        if name not in self.channels:
            raise refuse(errno.ENODEV)
        return name

    def read(self, device: str, place: str, attribute: str) -> str:
        """Read an attribute; ``place`` is "", "DEBUG", "BUFFER", or "INPUT voltage0" and the like. OSError as a driver's."""
        if place == "DEBUG":
            if attribute != "direct_reg_access":
                raise refuse(errno.ENOENT)
            return f"0x{self._read_register(device):X}"
        if place == "BUFFER":
            if attribute not in ("data_available", "length_align_bytes"):
                raise refuse(errno.ENOENT)
            return "8" if attribute == "length_align_bytes" else "0"
        with self.air.changed:
            return self._find(device, place, attribute).read()

    def write(self, device: str, place: str, attribute: str, value: str) -> None:
        """Write an attribute; OSError as a driver's when it is refused."""
        if place == "DEBUG":
            if attribute != "direct_reg_access":
                raise refuse(errno.ENOENT)
            self._write_register(device, value)
            return
        if place == "BUFFER":
            return
        with self.air.changed:
            found = self._find(device, place, attribute)
            if found.write is None:
                raise refuse(errno.EACCES)
            try:
                found.write(value.strip())
            except (OutOfRangeError, ValueError) as error:
                raise refuse() from error
            self.air.changed.notify_all()

    def _find(self, device: str, place: str, attribute: str) -> Attribute:
        if not place:
            found = self.attributes[device].get(attribute)
        else:
            direction, _, id_ = place.partition(" ")
            found = None
            for channel in self.channels[device]:
                if channel.output == (direction == "OUTPUT") and id_ in (channel.id, channel.name):
                    found = channel.attributes.get(attribute)
        if found is None:
            raise refuse(errno.ENOENT)
        return found

    def _write_register(self, device: str, value: str) -> None:
        words = [int(word, 0) for word in value.split()]
        if not words:
            raise refuse()
        self._register[device] = words[0]
        if len(words) > 1 and words[0] == STATUS_REGISTER:
            with self.air.changed:
                self._look()
                self._status &= ~(words[1] & self._bits(device))

    def _read_register(self, device: str) -> int:
        with self.air.changed:
            self._look()
            return self._status & self._bits(device) if self._register[device] == STATUS_REGISTER else 0

    def _look(self) -> None:
        """Set the flags of what the open streams have counted since the last look."""
        received, sent = self.radio.receiver.stream, self.radio.transmitter.stream
        for bit, stream, count in (
            (OVERFLOW_BIT, received, received.overruns if received else 0),
            (UNDERFLOW_BIT, sent, sent.underruns if sent else 0),
        ):
            known, before = self._counted.get(bit, (None, 0))
            if count > (before if known is stream else 0):
                self._status |= bit
            self._counted[bit] = stream, count

    def _bits(self, device: str) -> int:
        return OVERFLOW_BIT if device == ADC else UNDERFLOW_BIT if device == DAC else 0

    # ------------------------------------------------------------------ what the attributes do

    def _apply_rate(self) -> None:
        for name, side in (("rx", self.radio.receiver), ("tx", self.radio.transmitter)):
            side.set_rate(self._phy_rate / (8 if self._eighth[name] else 1))

    def _set_rate(self, text: str) -> None:
        rate = float(int(text))
        lowest = RATE_WITH_FIR if self._fir else RATE_WITHOUT_FIR
        if not int(lowest) <= rate <= self.radio.settings.model.rate.high:
            raise refuse()
        self._phy_rate = rate
        self._apply_rate()

    def _set_fir(self, text: str) -> None:
        wanted = bool(int(text))
        if not wanted and self._phy_rate < int(RATE_WITHOUT_FIR):
            raise refuse()
        self._fir = wanted

    def _rate_range(self) -> str:
        lowest = RATE_WITH_FIR if self._fir else RATE_WITHOUT_FIR
        return f"[{int(lowest)} 1 {int(self.radio.settings.model.rate.high)}]"

    def _set_eighth(self, name: str, text: str) -> None:
        self._eighth[name] = int(text) <= self._phy_rate / 4
        self._apply_rate()

    def _set_gain(self, text: str) -> None:
        if self.radio.receiver.automatic_gain:
            raise refuse()
        self.radio.receiver.set_gain(float(text.split()[0]))

    def _set_gain_mode(self, mode: str) -> None:
        if mode not in GAIN_MODES:
            raise refuse()
        self._gain_mode = mode
        self.radio.receiver.automatic_gain = mode != "manual"

    # ------------------------------------------------------------------ what there is

    def _lo(self, side: Side, filename: str) -> dict[str, Attribute]:
        allowed = self.radio.settings.model.frequency
        prefix = f"out_{filename}"
        return _table(
            Attribute(
                "frequency",
                f"{prefix}_frequency",
                lambda: str(round(side.frequency)),
                lambda text: side.set_frequency(float(int(text))),
            ),
            Attribute(
                "frequency_available",
                f"{prefix}_frequency_available",
                lambda: f"[{round(allowed.low)} 1 {round(allowed.high)}]",
            ),
            *(_kept(name, f"{prefix}_{name}", "0", ("0", "1")) for name in ("external", "powerdown")),
        )

    def _shared(self, direction: str, side: Side) -> list[Attribute]:
        """What all channels of a direction have in common."""
        prefix, allowed = f"{direction}_voltage", self.radio.settings.model.bandwidth
        return [
            Attribute(
                "sampling_frequency", f"{prefix}_sampling_frequency", lambda: str(round(self._phy_rate)), self._set_rate
            ),
            Attribute("sampling_frequency_available", f"{prefix}_sampling_frequency_available", self._rate_range),
            Attribute(
                "rf_bandwidth",
                f"{prefix}_rf_bandwidth",
                lambda: str(round(side.bandwidth)),
                lambda text: side.set_bandwidth(float(int(text))),
            ),
            Attribute(
                "rf_bandwidth_available",
                f"{prefix}_rf_bandwidth_available",
                lambda: f"[{round(allowed.low)} 1 {round(allowed.high)}]",
            ),
            Attribute("filter_fir_en", f"{prefix}_filter_fir_en", lambda: str(int(self._fir)), self._set_fir),
        ]

    def _phy(self) -> list[Channel]:
        receiver, transmitter = self.radio.receiver, self.radio.transmitter
        self._gain_mode = "slow_attack"
        received = _table(
            *self._shared("in", receiver),
            *(
                _kept(name, f"in_voltage_{name}", "1", ("0", "1"))
                for name in ("bb_dc_offset_tracking_en", "rf_dc_offset_tracking_en", "quadrature_tracking_en")
            ),
            Attribute(
                "gain_control_mode", "in_voltage0_gain_control_mode", lambda: self._gain_mode, self._set_gain_mode
            ),
            Attribute(
                "gain_control_mode_available", "in_voltage_gain_control_mode_available", lambda: " ".join(GAIN_MODES)
            ),
            Attribute("hardwaregain", "in_voltage0_hardwaregain", lambda: f"{receiver.gain:.6f} dB", self._set_gain),
            Attribute("hardwaregain_available", "in_voltage0_hardwaregain_available", lambda: _range(receiver)),
            _kept("rf_port_select", "in_voltage0_rf_port_select", "A_BALANCED", RX_PORTS),
            Attribute("rf_port_select_available", "in_voltage_rf_port_select_available", lambda: " ".join(RX_PORTS)),
            Attribute("rssi", "in_voltage0_rssi", lambda: f"{self._rssi():.2f} dB"),
        )
        sent = _table(
            *self._shared("out", transmitter),
            Attribute(
                "hardwaregain",
                "out_voltage0_hardwaregain",
                lambda: f"{transmitter.gain:.6f} dB",
                lambda text: transmitter.set_gain(float(text.split()[0])),
            ),
            Attribute("hardwaregain_available", "out_voltage0_hardwaregain_available", lambda: _range(transmitter)),
            _kept("rf_port_select", "out_voltage0_rf_port_select", "A", ("A", "B")),
            Attribute("rf_port_select_available", "out_voltage_rf_port_select_available", lambda: "A B"),
            Attribute("rssi", "out_voltage0_rssi", lambda: "0.00 dB"),
        )
        fir = Attribute(
            "voltage_filter_fir_en", "in_out_voltage_filter_fir_en", lambda: str(int(self._fir)), self._set_fir
        )
        return [
            Channel("altvoltage1", True, "TX_LO", attributes=self._lo(transmitter, "altvoltage1_TX_LO")),
            Channel("altvoltage0", True, "RX_LO", attributes=self._lo(receiver, "altvoltage0_RX_LO")),
            Channel("voltage0", False, attributes=received),
            Channel("voltage0", True, attributes=sent),
            Channel("temp0", False, attributes=_table(Attribute("input", "in_temp0_input", lambda: "35000"))),
            Channel("out", False, attributes=_table(fir)),
        ]

    def _rssi(self) -> float:
        """As the AD9361 counts it: dB below a level at the antenna."""
        receiver = self.radio.receiver
        return -(receiver.power_dbfs + receiver.level_dbm)

    def _phy_attributes(self) -> dict[str, Attribute]:
        def paths(names: str) -> str:
            factor = 8 if self._phy_rate <= 20e6 else 2
            converter = self._phy_rate * factor
            values = (converter * 2, converter, converter, converter / 2, self._phy_rate, self._phy_rate)
            return " ".join(f"{name}:{value:.0f}" for name, value in zip(names.split(), values, strict=True))

        return _table(
            _kept("calib_mode", "calib_mode", "auto"),
            _kept("ensm_mode", "ensm_mode", "fdd", ("sleep", "wait", "alert", "fdd", "pinctrl", "pinctrl_fdd_indep")),
            Attribute(
                "ensm_mode_available", "ensm_mode_available", lambda: "sleep wait alert fdd pinctrl pinctrl_fdd_indep"
            ),
            _kept("filter_fir_config", "filter_fir_config", "FIR Rx: 128,4 Tx: 128,4"),
            _kept("trx_rate_governor", "trx_rate_governor", "nominal", ("nominal", "highest_osr")),
            _kept("xo_correction", "xo_correction", "40000000"),
            Attribute("rx_path_rates", "rx_path_rates", lambda: paths("BBPLL ADC R2 R1 RF RXSAMP")),
            Attribute("tx_path_rates", "tx_path_rates", lambda: paths("BBPLL DAC T2 T1 TF TXSAMP")),
        )

    def _eighth_attributes(self, name: str, prefix: str) -> list[Attribute]:
        side: Side = self.radio.receiver if name == "rx" else self.radio.transmitter
        return [
            Attribute(
                "sampling_frequency",
                f"{prefix}_sampling_frequency",
                lambda: str(round(side.rate)),
                lambda text: self._set_eighth(name, text),
            ),
            Attribute(
                "sampling_frequency_available",
                f"{prefix}_sampling_frequency_available",
                lambda: f"{round(self._phy_rate)} {round(self._phy_rate / 8)}",
            ),
        ]

    def _dac(self) -> list[Channel]:
        channels = []
        for i, tone in enumerate(f"TX{1 + i // 4}_{'IQ'[i // 2 % 2]}_F{1 + i % 2}" for i in range(4)):
            filename = f"out_altvoltage{i}_{tone}"
            values = {"frequency": "9279985", "phase": "0", "raw": "0", "scale": "0.000000"}
            tones = _table(
                *(_kept(name, f"{filename}_{name}", value) for name, value in values.items()),
                *self._eighth_attributes("tx", filename),
            )
            channels.append(Channel(f"altvoltage{i}", True, tone, attributes=tones))
        shared = self._eighth_attributes("tx", "out_voltage")
        for i in range(2):
            calibration = [
                _kept(name, f"out_voltage{i}_{name}", value)
                for name, value in (("calibphase", "0.000000"), ("calibscale", "1.000000"))
            ]
            channels.append(
                Channel(f"voltage{i}", True, scan="le:S16/16>>0", index=i, attributes=_table(*calibration, *shared))
            )
        return channels

    def _adc(self) -> list[Channel]:
        shared = self._eighth_attributes("rx", "in_voltage")
        return [
            Channel(f"voltage{i}", False, scan="le:S12/16>>0", index=i, attributes=_table(*shared)) for i in range(2)
        ]

    def xml(self) -> str:
        """The context, as IIOD prints it."""
        parts = [
            f'<?xml version="1.0" encoding="utf-8"?>{DTD}',
            '<context name="network" description="djscc virtual Pluto">',
        ]
        about = {
            "hw_model": "Analog Devices PlutoSDR Rev.B (Z7010-AD9363A)",
            "hw_serial": self.radio.serial,
            "fw_version": "v0.38",
            "ad9361-phy,model": "ad9363a",
            "ad9361-phy,xo_correction": "40000000",
            "local,kernel": "virtual",
        }
        parts += [f"<context-attribute name={quoteattr(k)} value={quoteattr(v)} />" for k, v in about.items()]
        for id_, name in DEVICES.items():
            parts.append(f'<device id="{id_}" name="{name}">')
            for channel in self.channels[name]:
                label = f" name={quoteattr(channel.name)}" if channel.name else ""
                parts.append(f'<channel id="{channel.id}"{label} type="{"output" if channel.output else "input"}">')
                if channel.scan:
                    parts.append(f'<scan-element index="{channel.index}" format={quoteattr(channel.scan)} />')
                parts += [f'<attribute name="{a.name}" filename="{a.filename}" />' for a in channel.attributes.values()]
                parts.append("</channel>")
            parts += [f'<attribute name="{attribute}" />' for attribute in self.attributes[name]]
            if name != PHY:
                parts += [
                    '<buffer-attribute name="data_available" />',
                    '<buffer-attribute name="length_align_bytes" />',
                ]
            parts.append('<debug-attribute name="direct_reg_access" />')
            parts.append("</device>")
        parts.append("</context>")
        return "".join(parts)


def _table(*attributes: Attribute) -> dict[str, Attribute]:
    return {attribute.name: attribute for attribute in attributes}


def _kept(name: str, filename: str, value: str, options: tuple[str, ...] | None = None) -> Attribute:
    kept = Kept(value, options)
    return Attribute(name, filename, kept.get, kept.set)


def _range(side: Side) -> str:
    return f"[{side.gains.low:g} {side.gains.step:g} {side.gains.high:g}]"
