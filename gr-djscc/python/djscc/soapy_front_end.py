# SPDX-License-Identifier: GPL-3.0-or-later
"""Any radio that has a SoapySDR driver, through gr-soapy. Its block tells of no lost samples: the receiver finds those itself."""

from __future__ import annotations

from typing import Any

from djscc.radio import Endpoint, RadioSettings
from djscc.radio.errors import StreamError

from .front_end import FrontEnd, among, made, module_of, require, rotator, same, within


def soapy_source(endpoint: Endpoint, radio: RadioSettings, rate: float, occupied: float) -> FrontEnd:
    """A receiver at ``rate`` samples per second, set and read back; ``occupied`` is the signal's bandwidth in Hz."""
    soapy = module_of("soapy")
    require(radio, endpoint, "received")
    block = made(endpoint, lambda: soapy.source(endpoint.address, "fc32", 1, "", "", [""], [""]))
    chain = [block]
    if radio.lo_offset:
        chain.append(rotator(endpoint, radio.lo_offset, rate, occupied))
    return FrontEnd(chain, _set(block, endpoint, radio, rate))


def soapy_sink(endpoint: Endpoint, radio: RadioSettings, rate: float, occupied: float) -> FrontEnd:
    """A transmitter."""
    soapy = module_of("soapy")
    require(radio, endpoint, "sent")
    block = made(endpoint, lambda: soapy.sink(endpoint.address, "fc32", 1, "", "", [""], [""]))
    chain = [block]
    if radio.lo_offset:
        chain.insert(0, rotator(endpoint, -radio.lo_offset, rate, occupied))
    return FrontEnd(chain, _set(block, endpoint, radio, rate))


def _set(block: Any, endpoint: Endpoint, radio: RadioSettings, rate: float) -> dict[str, Any]:
    """Set what was asked for; returns what the device says."""
    frequency, gain = require(radio, endpoint, "done")
    if radio.clock_source is not None:
        among(endpoint, "--clock-source", radio.clock_source, block.list_clock_sources())
        block.set_clock_source(radio.clock_source)
    ranges = block.get_sample_rate_range(0)
    if ranges and not any(r.minimum() <= rate <= r.maximum() for r in ranges):
        known = ", ".join(f"{r.minimum():g} to {r.maximum():g}" for r in ranges)
        raise StreamError(f"{endpoint}: --sample-rate {rate:g} Hz is outside of the device's {known} Hz")
    block.set_sample_rate(0, rate)
    actual: dict[str, Any] = {
        "sample_rate": same(endpoint, "--sample-rate", rate, block.get_sample_rate(0), rate * 1e-6, "Hz")
    }
    if radio.antenna is not None:
        among(endpoint, "--antenna", radio.antenna, block.list_antennas(0))
        block.set_antenna(0, radio.antenna)
    tuned = frequency + (radio.lo_offset or 0.0)
    tuning = block.get_frequency_range(0)
    if tuning:
        low, high = min(r.minimum() for r in tuning), max(r.maximum() for r in tuning)
        within(endpoint, "--frequency", tuned, low, high, "Hz")
    block.set_frequency(0, tuned)
    actual["frequency"] = same(endpoint, "--frequency", tuned, block.get_frequency(0), max(10.0, 1e-6 * tuned), "Hz")
    if block.has_gain_mode(0):
        block.set_gain_mode(0, False)
    gains = block.get_gain_range(0)
    within(endpoint, "--gain", gain, gains.minimum(), gains.maximum(), "dB")
    block.set_gain(0, gain)
    actual["gain"] = same(endpoint, "--gain", gain, block.get_gain(0), 1.5, "dB")
    if radio.bandwidth is not None:
        block.set_bandwidth(0, radio.bandwidth)
        actual["bandwidth"] = block.get_bandwidth(0)
    actual["antenna"] = block.get_antenna(0)
    actual["lo_offset"] = radio.lo_offset or 0.0
    return actual
