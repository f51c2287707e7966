# SPDX-License-Identifier: GPL-3.0-or-later
"""An ADALM-PLUTO, through gr-iio, which warns only where the device refuses a value: so what matters is read back.

Limits and values are read by libiio's own Python module (python3-libiio), over a connection beside that of the blocks. Over USB
there can be but one connection: there the values are written and read back before the blocks open the device, and its flags of lost
samples cannot be looked at.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from gnuradio import blocks, gr

from djscc.radio import Endpoint, RadioEvents, RadioSettings
from djscc.radio.errors import StreamError

from .front_end import SETTLE_S, WAITING_SAMPLES, FrontEnd, made, module_of, require, rotator, same, within

PHY, RECEIVER, TRANSMITTER = "ad9361-phy", "cf-ad9361-lpc", "cf-ad9361-dds-core-lpc"
RECEIVE_BUFFER = 1 << 16
KERNEL_BUFFERS = 4  # that libiio lets the device hold
STATUS_REGISTER = 0x80000088  # of a converter's core; a flag is cleared by writing it
OVERFLOW, UNDERFLOW = 4, 1
LOOK_S = 0.02
THREAD_S = 1.0  # gr-iio's thread sleeps so long between looks at whether its block has started, or stopped
DECIMATED_BELOW = 520833  # Hz; there the FPGA samples at an eighth of the converter's rate
ANTENNAS = {"receive": "A_BALANCED", "transmit": "A"}


def pluto_source(
    endpoint: Endpoint, radio: RadioSettings, rate: float, occupied: float, events: RadioEvents
) -> FrontEnd:
    """A receiving Pluto at ``rate`` samples per second, gain control off; ``occupied`` is the signal's bandwidth in Hz."""
    iio = module_of("iio")
    frequency, gain = require(radio, endpoint, "received")
    uri = _uri(iio, endpoint)
    size = radio.buffer_size or RECEIVE_BUFFER
    lo = frequency + (radio.lo_offset or 0.0)
    _refuse(endpoint, radio, "receive")
    control = _Control(endpoint, uri, "receive")
    control.check(lo, gain, rate)
    block = made(endpoint, lambda: iio.fmcomms2_source_fc32(uri, [True, True], size))
    chain = [block]
    block.set_min_output_buffer(0, WAITING_SAMPLES)  # for all ports at once, as GRC does it, it has no effect on gr-iio
    with _settled(endpoint, block):
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
        if radio.bandwidth is not None:
            control.set_bandwidth(radio.bandwidth)
        if radio.lo_offset:
            chain.append(rotator(endpoint, radio.lo_offset, rate, occupied))
        actual = control.read_back(lo, gain, rate) | {"lo_offset": radio.lo_offset or 0.0}
    return FrontEnd(chain, actual, watch=control.watch(events, block.nitems_written, KERNEL_BUFFERS * size))


def pluto_sink(endpoint: Endpoint, radio: RadioSettings, rate: float, occupied: float, events: RadioEvents) -> FrontEnd:
    """A transmitting Pluto; frames must be filled up to whole buffers (``frame_modulator``'s ``multiple``)."""
    iio = module_of("iio")
    frequency, gain = require(radio, endpoint, "sent")
    uri = _uri(iio, endpoint)
    size = radio.filled_up_to(endpoint.kind)
    lo = frequency + (radio.lo_offset or 0.0)
    _refuse(endpoint, radio, "transmit")
    control = _Control(endpoint, uri, "transmit")
    control.check(lo, gain, rate)
    block = made(endpoint, lambda: iio.fmcomms2_sink_fc32(uri, [True, True], size, False))
    chain = [block]
    with _settled(endpoint, block):
        block.set_len_tag_key("")
        block.set_attenuation(0, -gain)
        if radio.bandwidth is not None:
            block.set_bandwidth(round(radio.bandwidth))
        block.set_frequency(lo)
        block.set_samplerate(round(rate))
        block.set_filter_params("Auto", "", 0, 0)
        if radio.lo_offset:
            chain.insert(0, rotator(endpoint, -radio.lo_offset, rate, occupied))
        actual = control.read_back(lo, gain, rate) | {"lo_offset": radio.lo_offset or 0.0}
    drain = SETTLE_S + 2 * KERNEL_BUFFERS * size / rate
    return FrontEnd(chain, actual, watch=control.watch(events, block.nitems_read), drain_s=drain)


def _uri(iio: Any, endpoint: Endpoint) -> str:
    return endpoint.address or made(endpoint, iio.get_pluto_uri)


@contextlib.contextmanager
def _settled(endpoint: Endpoint, block: Any) -> Iterator[None]:
    """Set a block, and end its thread, whether the device refuses or not."""
    try:
        yield
    except RuntimeError as error:  # of gr-iio, such as "Unable to set BB rate"
        raise StreamError(f"{endpoint}: refused by the device: {error}") from error
    finally:
        end_thread(block)


def end_thread(block: Any) -> None:
    """End the thread of a gr-iio block, which looks at the converter's flags every second, and clears them.

    It would take every other flag from us; and a block whose thread never saw it started waits for it for ever when the
    process ends. The thread ends for good once the block was started, and stopped, for longer than it sleeps.
    """
    flowgraph = gr.top_block()
    if any(block.to_basic_block().output_signature().sizeof_stream_items()):
        flowgraph.connect(block, blocks.null_sink(gr.sizeof_gr_complex))
    else:
        flowgraph.connect(blocks.null_source(gr.sizeof_gr_complex), block)
    with _unprinted():  # it prints U and O for what happens meanwhile
        flowgraph.start()
        time.sleep(1.2 * THREAD_S)
        flowgraph.stop()
        flowgraph.wait()
        flowgraph.disconnect_all()
        block.set_max_output_buffer(0, -1)  # it has kept the size of its buffer
        time.sleep(1.1 * THREAD_S)


@contextlib.contextmanager
def _unprinted() -> Iterator[None]:
    """Nothing goes to standard output meanwhile, of C neither."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


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


class _Control:
    """One direction of a Pluto's settings, by libiio."""

    def __init__(self, endpoint: Endpoint, uri: str, way: str) -> None:
        try:
            import iio  # python3-libiio
        except ImportError as error:
            raise StreamError(
                f"{endpoint}: libiio's Python module is not there ({error}); apt-get install python3-libiio"
            ) from error
        self._endpoint, self._receives, self._alone = endpoint, way == "receive", uri.startswith("usb")
        self._open: Callable[[], Any] = lambda: made(endpoint, lambda: iio.Context(uri))
        self._context = self._open()
        self._phy = self._context.find_device(PHY)
        if self._phy is None:
            names = ", ".join(device.name or "?" for device in self._context.devices)
            raise StreamError(f"{endpoint}: no AD936x is there, but {names}; check the address")

    def _attribute(self, name: str) -> Any:
        if name == "frequency":
            channel = self._phy.find_channel("altvoltage0" if self._receives else "altvoltage1", True)
        else:
            channel = self._phy.find_channel("voltage0", not self._receives)
        return channel.attrs[name]

    def _value(self, name: str) -> float:
        return float(self._attribute(name).value.split()[0])

    def check(self, lo: float, gain: float, rate: float) -> None:
        """Refuse what is outside of the limits that the device tells."""
        for option, name, value, unit in (
            ("--frequency", "frequency", lo, "Hz"),
            ("--gain", "hardwaregain", gain, "dB"),
            ("--sample-rate", "sampling_frequency", rate, "Hz"),
        ):
            try:
                low, _, high = map(float, self._attribute(f"{name}_available").value.strip("[] \n").split())
            except (AttributeError, KeyError, OSError, ValueError):
                continue  # it tells of none
            within(self._endpoint, option, value, low / 8 if name == "sampling_frequency" else low, high, unit)
        if self._alone:
            with contextlib.suppress(OSError):  # what it did not take shows when it is read back
                if self._receives:
                    self._attribute("gain_control_mode").value = "manual"
                self._attribute("frequency").value = str(round(lo))
                self._attribute("hardwaregain").value = str(gain)
            self._tuned(lo, gain)
            self._phy = self._context = None

    def _tuned(self, lo: float, gain: float) -> dict[str, float]:
        endpoint = self._endpoint
        return {
            "frequency": same(endpoint, "--frequency", lo, self._value("frequency"), max(10.0, 1e-8 * lo), "Hz"),
            "gain": same(endpoint, "--gain", gain, self._value("hardwaregain"), 1.0, "dB"),
        }

    def set_bandwidth(self, bandwidth: float) -> None:
        """Set the receiver's analogue filter, which gr-iio's source cannot."""
        if self._alone:
            raise StreamError(
                f"{self._endpoint}: --bandwidth cannot be set for reception over USB; give pluto:ip:192.168.2.1, or leave it out"
            )
        attribute = self._attribute("rf_bandwidth")
        try:
            attribute.value = str(round(bandwidth))
        except OSError as error:
            raise StreamError(
                f"{self._endpoint}: --bandwidth {bandwidth:.10g} Hz: refused by the device ({error.strerror}); "
                "choose a value it takes, or leave it out"
            ) from error

    def read_back(self, lo: float, gain: float, rate: float) -> dict[str, Any]:
        """What the device was set to, which must be what it was asked for."""
        if self._alone:
            return {"frequency": lo, "gain": gain, "sample_rate": rate}
        actual: dict[str, Any] = dict(self._tuned(lo, gain))
        factor = 8 if rate < DECIMATED_BELOW else 1
        got = self._value("sampling_frequency") / factor
        actual["sample_rate"] = same(self._endpoint, "--sample-rate", rate, got, 1e-5 * rate, "Hz")
        actual["bandwidth"] = self._value("rf_bandwidth")
        return actual

    def watch(self, events: RadioEvents, position: Callable[[int], int], waiting: int = 0) -> Callable[[], None] | None:
        """What looks at the flags of lost samples; ``waiting`` samples are still in the device when they are lost."""
        if self._alone:
            return None
        device = self._context.find_device(RECEIVER if self._receives else TRANSMITTER)
        return _Flags(device, self._receives, events, lambda: position(0), waiting).look


class _Flags:
    """Counts how often a converter's flag of lost samples was set; ``position`` says how far the stream has come."""

    def __init__(
        self, device: Any, receives: bool, events: RadioEvents, position: Callable[[], int], waiting: int
    ) -> None:
        self._device, self._events, self._position, self._waiting = device, events, position, waiting
        self._flag, self._kind = (OVERFLOW, "overruns") if receives else (UNDERFLOW, "underruns")
        self._since: int | None = None
        self._looked = 0.0
        self.on_overrun: Callable[[int, int], None] | None = None

    def look(self) -> None:
        """Count a flag that is set, and clear it."""
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        try:
            flagged = self._device.reg_read(STATUS_REGISTER) & self._flag
            if flagged or self._since is None:
                self._device.reg_write(STATUS_REGISTER, self._flag)
        except OSError:  # the device has gone: the stream will tell
            return
        position = self._position()
        if flagged and self._since:  # not what was there before the stream
            self._events.add(self._kind, "pluto", self._since)
            if self.on_overrun is not None:
                self.on_overrun(self._since, position + self._waiting)  # what waited in the device comes first
        self._since = position
