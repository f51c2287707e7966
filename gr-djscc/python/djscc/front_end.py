# SPDX-License-Identifier: GPL-3.0-or-later
"""What the front ends of USRP, Pluto and SoapySDR have in common: a chain of blocks, checked settings, values read back."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pmt
from gnuradio import blocks, gr

from djscc.radio import Endpoint, RadioEvents, RadioSettings
from djscc.radio.errors import OutOfLimitsError, StreamError

SETTLE_S = 0.3  # between the last sample handed to a radio and its release, beside what its buffers hold

NO_GAIN = -999.0  # dB
WAITING_SAMPLES = 1 << 20  # that a radio may be ahead of the receiver, which takes frames at once


@dataclass
class FrontEnd:
    """A radio in a flowgraph.

    chain     blocks in the order in which samples pass them.
    actual    what the device says that it was set to, for the log.
    messages  (block, port, block) connections of messages, to port ``in`` of the second.
    watch     looks for lost samples: called from time to time while the flowgraph runs, by a receiver before it takes samples.
    drain_s   how long a transmitter still sends what it was given.
    """

    chain: list[Any]
    actual: dict[str, Any]
    messages: list[tuple[Any, str, Any]] = field(default_factory=list)
    watch: Callable[[], None] | None = None
    drain_s: float = SETTLE_S


def module_of(name: str) -> Any:
    """One of GNU Radio's hardware modules; StreamError with the remedy when it is not there."""
    try:
        return importlib.import_module(f"gnuradio.{name}")
    except ImportError as error:
        raise StreamError(f"gnuradio.{name} cannot be imported ({error}); apt-get install gnuradio") from error


def require(radio: RadioSettings, endpoint: Endpoint, what: str) -> tuple[float, float]:
    """Frequency and gain, which no radio is used without."""
    missing = [f"--{name}" for name in ("frequency", "gain") if getattr(radio, name) is None]
    if missing:
        raise StreamError(f"{endpoint}: nothing is {what} before {' and '.join(missing)} is given")
    assert radio.frequency is not None and radio.gain is not None
    return radio.frequency, radio.gain


def require_given(**values: float) -> None:
    """End a program made by GRC unless each of its parameters was given; 0 Hz and -999 dB stand for none."""
    missing = [name for name, value in values.items() if value <= (0.0 if name.endswith("frequency") else NO_GAIN)]
    if missing:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise SystemExit(
            f"nothing is sent or received before {options} is given: run the program with it, or set the value of the "
            f"parameter {' and '.join(missing)} in GRC"
        )


def within(endpoint: Endpoint, name: str, value: float, low: float, high: float, unit: str) -> None:
    """Refuse a value outside of the device's limits (which it may not tell: NaN or none)."""
    if math.isfinite(low) and math.isfinite(high) and high > low and not low <= value <= high:
        raise OutOfLimitsError(endpoint, name, value, low, high, unit)


def among(endpoint: Endpoint, name: str, value: str, known: Sequence[str]) -> None:
    """Refuse a name that the device does not have."""
    if value not in known:
        raise StreamError(f"{endpoint}: {name} {value!r} is not there; the device has {', '.join(known) or 'none'}")


def same(endpoint: Endpoint, name: str, wanted: float, got: float, tolerance: float, unit: str) -> float:
    """Refuse what the device set instead of what it was asked for; returns what it has."""
    if not abs(got - wanted) <= tolerance:
        raise StreamError(
            f"{endpoint}: {name} {wanted:.10g} {unit} was asked for, the device has {got:.10g} {unit}: choose a value it takes"
        )
    return got


def made(endpoint: Endpoint, make: Callable[[], Any]) -> Any:
    """A hardware block; StreamError when the device is not there."""
    try:
        return make()
    except Exception as error:  # RuntimeError of each driver
        text = " ".join(str(error).split())
        raise StreamError(
            f"{endpoint}: no such device can be opened ({text}); check address, cable and that nothing else uses it"
        ) from error


def rotator(endpoint: Endpoint, offset_hz: float, settings_rate: float, occupied_hz: float) -> Any:
    """Moves the signal by ``offset_hz``, for devices whose driver has no LO offset."""
    if abs(offset_hz) + occupied_hz / 2 > settings_rate / 2:
        raise StreamError(
            f"{endpoint}: --lo-offset {offset_hz:g} Hz moves the signal of {occupied_hz:g} Hz out of the "
            f"{settings_rate:g} Hz that are sampled; at most "
            f"{max(settings_rate - occupied_hz, 0) / 2:g} Hz, or raise --samples-per-symbol"
        )
    return blocks.rotator_cc(2 * math.pi * offset_hz / settings_rate)


KIND_OF_CODE = {
    "underflow": "underruns",
    "underflow_in_packet": "underruns",
    "seq_error": "sequence_errors",
    "seq_error_in_burst": "sequence_errors",
    "time_error": "late",
}


class EventCounter(gr.basic_block):
    """Counts the asynchronous messages of gr-uhd: pairs of ``uhd_async_msg`` and a dict with a list ``event_code``."""

    def __init__(self, events: RadioEvents, device: str) -> None:
        gr.basic_block.__init__(self, "event_counter", None, None)
        self.error: Exception | None = None
        self._events, self._device = events, device
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.count)

    def count(self, message: Any) -> None:
        """Count one message; those of another form are none of ours."""
        try:
            codes = pmt.to_python(pmt.cdr(message))["event_code"]
        except Exception:  # not of gr-uhd
            return
        for code in [codes] if isinstance(codes, str) else codes or ():
            if str(code) in KIND_OF_CODE:
                self._events.add(KIND_OF_CODE[str(code)], self._device)
