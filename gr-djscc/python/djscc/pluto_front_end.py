# SPDX-License-Identifier: GPL-3.0-or-later
"""An ADALM-PLUTO, through gr-iio, which warns only where the device refuses a value: so what matters is read back.

Limits come from the device's ``*_available`` attributes, by libiio's own Python module, before the blocks open it. Values are
read back with gr-iio's ``attr_source``, which shares the blocks' connection: over USB there is only one.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np
from gnuradio import blocks, gr
from numpy.typing import NDArray

from djscc.radio import Endpoint, RadioEvents, RadioSettings
from djscc.radio.errors import StreamError

from .front_end import SETTLE_S, FrontEnd, made, module_of, require, rotator, same, within

PHY, RECEIVER, TRANSMITTER = "ad9361-phy", "cf-ad9361-lpc", "cf-ad9361-dds-core-lpc"
BUFFER = 1 << 14  # samples: 8 ms at 2 MS/s
KERNEL_BUFFERS = 4  # that libiio lets the device hold
STATUS_REGISTER = 0x80000088  # of the converter's core; gr-iio reads it each second and clears it
OVERFLOW, UNDERFLOW = 4, 1
LOOK_S = 0.2
ANTENNAS = {"receive": "A_BALANCED", "transmit": "A"}


def pluto_source(
    endpoint: Endpoint, radio: RadioSettings, rate: float, occupied: float, events: RadioEvents
) -> FrontEnd:
    """A receiving Pluto at ``rate`` samples per second, gain control off; ``occupied`` is the signal's bandwidth in Hz."""
    iio = module_of("iio")
    frequency, gain = require(radio, endpoint, "received")
    uri = _uri(iio, endpoint)
    size = radio.buffer_size or BUFFER
    lo = frequency + (radio.lo_offset or 0.0)
    _refuse(endpoint, radio, "receive")
    _check(endpoint, uri, lo, gain, rate, "receive")
    block = made(endpoint, lambda: iio.fmcomms2_source_fc32(uri, [True, True], size))
    with _refusals(endpoint):
        block.set_len_tag_key("")
        block.set_frequency(lo)
        block.set_samplerate(round(rate))
        for _ in range(2):  # gr-iio 3.10.5 sets the mode of the call before
            block.set_gain_mode(0, "manual")
        block.set_gain(0, gain)
        block.set_quadrature(True)
        block.set_rfdc(True)
        block.set_bbdc(True)
        block.set_filter_params("Auto", "", 0, 0)
    chain = [block]
    if radio.lo_offset:
        chain.append(rotator(endpoint, radio.lo_offset, rate, occupied))
    actual = _read_back(iio, endpoint, uri, lo, gain, rate, "receive")
    status = _Status(iio, uri, RECEIVER, OVERFLOW, "overruns", events)
    return FrontEnd(chain, actual | {"lo_offset": radio.lo_offset or 0.0}, [], status.look, status.close)


def pluto_sink(endpoint: Endpoint, radio: RadioSettings, rate: float, occupied: float, events: RadioEvents) -> FrontEnd:
    """A transmitting Pluto; frames must be filled up to whole buffers (``frame_modulator``'s ``multiple``, ``buffer_of``)."""
    iio = module_of("iio")
    frequency, gain = require(radio, endpoint, "sent")
    uri = _uri(iio, endpoint)
    size = buffer_of(radio)
    lo = frequency + (radio.lo_offset or 0.0)
    _refuse(endpoint, radio, "transmit")
    _check(endpoint, uri, lo, gain, rate, "transmit")
    block = made(endpoint, lambda: iio.fmcomms2_sink_fc32(uri, [True, True], size, False))
    with _refusals(endpoint):
        block.set_len_tag_key("")
        block.set_attenuation(0, -gain)
        if radio.bandwidth is not None:
            block.set_bandwidth(round(radio.bandwidth))
        block.set_frequency(lo)
        block.set_samplerate(round(rate))
        block.set_filter_params("Auto", "", 0, 0)
    chain = [block]
    if radio.lo_offset:
        chain.insert(0, rotator(endpoint, -radio.lo_offset, rate, occupied))
    actual = _read_back(iio, endpoint, uri, lo, gain, rate, "transmit")
    status = _Status(iio, uri, TRANSMITTER, UNDERFLOW, "underruns", events)
    drain = SETTLE_S + 2 * KERNEL_BUFFERS * size / rate
    return FrontEnd(chain, actual | {"lo_offset": radio.lo_offset or 0.0}, [], status.look, status.close, drain)


def buffer_of(radio: RadioSettings) -> int:
    """Samples in one buffer of the transmitter."""
    return radio.buffer_size or BUFFER


def _uri(iio: Any, endpoint: Endpoint) -> str:
    return endpoint.address or made(endpoint, iio.get_pluto_uri)


@contextlib.contextmanager
def _refusals(endpoint: Endpoint) -> Any:
    try:
        yield
    except RuntimeError as error:  # of gr-iio, such as "Unable to set BB rate"
        raise StreamError(f"{endpoint}: refused by the device: {error}") from error


def _refuse(endpoint: Endpoint, radio: RadioSettings, way: str) -> None:
    """What gr-iio cannot set."""
    if radio.antenna not in (None, ANTENNAS[way]):
        raise StreamError(
            f"{endpoint}: --antenna {radio.antenna!r}: a Pluto has {ANTENNAS[way]} only; leave the option out"
        )
    if radio.clock_source not in (None, "internal"):
        raise StreamError(
            f"{endpoint}: --clock-source {radio.clock_source!r}: a Pluto has internal only; leave the option out"
        )


def _check(endpoint: Endpoint, uri: str, lo: float, gain: float, rate: float, way: str) -> None:
    """Refuse what is outside of the limits that the device tells."""
    try:
        import iio as libiio  # python3-libiio; without it the values are only read back
    except ImportError:
        return
    context = made(endpoint, lambda: libiio.Context(uri))
    receive = way == "receive"
    phy = context.find_device(PHY)
    if phy is None:
        raise StreamError(
            f"{endpoint}: no AD936x is there ({', '.join(d.name or '?' for d in context.devices)}); check the address"
        )
    names = {"--frequency": ("altvoltage0" if receive else "altvoltage1", True, "frequency", lo, "Hz")}
    names["--gain"] = ("voltage0", not receive, "hardwaregain", gain, "dB")
    names["--sample-rate"] = ("voltage0", not receive, "sampling_frequency", rate, "Hz")
    for option, (channel, output, attribute, value, unit) in names.items():
        found = phy.find_channel(channel, output)
        try:
            low, _, high = map(float, found.attrs[f"{attribute}_available"].value.strip("[] \n").split())
        except (AttributeError, KeyError, OSError, ValueError):
            continue  # it tells of none
        if option == "--sample-rate":
            low /= 8  # gr-iio decimates by 8 below
        within(endpoint, option, value, low, high, unit)


def read_attribute(iio: Any, uri: str, device: str, channel: str, name: str, output: bool) -> float:
    """One number of a device that gr-iio's blocks have open."""
    source = iio.attr_source(uri, device, channel, name, 1, 1, iio.DOUBLE, iio.CHANNEL, output, 0)
    flowgraph, head, sink = gr.top_block(), blocks.head(8, 1), _Doubles()
    flowgraph.connect(source, head, sink)
    flowgraph.run()
    return sink.value


class _Doubles(gr.sync_block):
    def __init__(self) -> None:
        gr.sync_block.__init__(self, "doubles", [np.float64], None)
        self.value = float("nan")

    def work(self, input_items: list[NDArray[Any]], _: list[NDArray[Any]]) -> int:
        self.value = float(input_items[0][-1])
        return len(input_items[0])


def _read_back(iio: Any, endpoint: Endpoint, uri: str, lo: float, gain: float, rate: float, way: str) -> dict[str, Any]:
    receive = way == "receive"
    channel = "altvoltage0" if receive else "altvoltage1"
    got = read_attribute(iio, uri, PHY, channel, "frequency", True)
    actual: dict[str, Any] = {"frequency": same(endpoint, "--frequency", lo, got, max(10.0, 1e-8 * lo), "Hz")}
    got = read_attribute(iio, uri, PHY, "voltage0", "hardwaregain", not receive)
    actual["gain"] = same(endpoint, "--gain", gain, got, 1.0, "dB")
    got = read_attribute(iio, uri, PHY, "voltage0", "sampling_frequency", not receive)
    core = 8 * rate if rate < 520833 else rate  # the converter's, before the FPGA decimates by 8
    same(endpoint, "--sample-rate", core, got, 1e-5 * core, "Hz")
    actual["sample_rate"] = got * rate / core
    actual["bandwidth"] = read_attribute(iio, uri, PHY, "voltage0", "rf_bandwidth", not receive)
    return actual


class _Status:
    """Looks at a converter's status register: its flags say that samples were lost since gr-iio cleared them, up to 1 s ago."""

    def __init__(self, iio: Any, uri: str, device: str, flag: int, kind: str, events: RadioEvents) -> None:
        self._flag, self._kind, self._events = flag, kind, events
        self._sink = _Register()
        source = iio.attr_source(
            uri, device, "", "", int(LOOK_S * 1000), 1, iio.INT, iio.DEVICE_DEBUG, False, STATUS_REGISTER
        )
        self._flowgraph = gr.top_block()
        self._flowgraph.connect(source, self._sink)
        self._running, self._set = False, False
        self.on_overrun: Any = None

    def look(self, position: int) -> None:
        """Count a flag that was not set before; ``position`` is how far the stream has come."""
        if not self._running:
            self._flowgraph.start()
            self._running, self._since, self._begun = True, position, time.monotonic()
            return
        flagged = bool(self._sink.value & self._flag)
        if flagged and not self._set and time.monotonic() - self._begun > 1.2:  # gr-iio clears what the start left
            self._events.add(self._kind, "pluto", position)
            if self.on_overrun is not None:
                self.on_overrun(self._since, position)
        self._set, self._since = flagged, position

    def close(self) -> None:
        """End the reading."""
        if self._running:
            self._flowgraph.stop()
            self._flowgraph.wait()


class _Register(gr.sync_block):
    def __init__(self) -> None:
        gr.sync_block.__init__(self, "register", [np.int32], None)
        self.value = 0

    def work(self, input_items: list[NDArray[Any]], _: list[NDArray[Any]]) -> int:
        self.value = int(input_items[0][-1])
        return len(input_items[0])
