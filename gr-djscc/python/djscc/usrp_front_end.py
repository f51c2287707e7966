# SPDX-License-Identifier: GPL-3.0-or-later
"""A USRP, through gr-uhd. Samples lost on receive show in the time tags, which frame_receiver reads; on transmit in messages."""

from __future__ import annotations

from typing import Any

from djscc.radio import Endpoint, RadioEvents, RadioSettings

from .front_end import EventCounter, FrontEnd, among, made, module_of, require, same, within


def usrp_source(endpoint: Endpoint, radio: RadioSettings, rate: float, events: RadioEvents) -> FrontEnd:
    """A receiving USRP at ``rate`` samples per second, set and read back."""
    uhd = module_of("uhd")
    require(radio, endpoint, "received")
    stream = uhd.stream_args(cpu_format="fc32", channels=[0])
    block = made(endpoint, lambda: uhd.usrp_source(endpoint.address, stream))
    return FrontEnd([block], _set(uhd, block, endpoint, radio, rate))


def usrp_sink(endpoint: Endpoint, radio: RadioSettings, rate: float, events: RadioEvents) -> FrontEnd:
    """A transmitting USRP; frames are bursts, as frame_modulator tags them."""
    uhd = module_of("uhd")
    require(radio, endpoint, "sent")
    stream = uhd.stream_args(cpu_format="fc32", channels=[0])
    block = made(endpoint, lambda: uhd.usrp_sink(endpoint.address, stream, ""))
    actual = _set(uhd, block, endpoint, radio, rate)
    counter = EventCounter(events, "usrp")
    return FrontEnd([block], actual, [(block, "async_msgs", counter)])


def _set(uhd: Any, block: Any, endpoint: Endpoint, radio: RadioSettings, rate: float) -> dict[str, Any]:
    """Set what was asked for, clock first; returns what the device says."""
    frequency, gain = require(radio, endpoint, "done")
    if radio.clock_source is not None:
        among(endpoint, "--clock-source", radio.clock_source, block.get_clock_sources(0))
        block.set_clock_source(radio.clock_source, 0)
    rates = block.get_samp_rates()
    within(endpoint, "--sample-rate", rate, rates.start(), rates.stop(), "Hz")
    block.set_samp_rate(rate)
    actual: dict[str, Any] = {
        "sample_rate": same(endpoint, "--sample-rate", rate, block.get_samp_rate(), rate * 1e-6, "Hz")
    }
    if radio.antenna is not None:
        among(endpoint, "--antenna", radio.antenna, block.get_antennas(0))
        block.set_antenna(radio.antenna, 0)
    tuning = block.get_freq_range(0)
    within(endpoint, "--frequency", frequency, tuning.start(), tuning.stop(), "Hz")
    block.set_center_freq(
        uhd.tune_request(frequency, radio.lo_offset) if radio.lo_offset else uhd.tune_request(frequency), 0
    )
    actual["frequency"] = same(
        endpoint, "--frequency", frequency, block.get_center_freq(0), max(10.0, 1e-8 * frequency), "Hz"
    )
    gains = block.get_gain_range(0)
    within(endpoint, "--gain", gain, gains.start(), gains.stop(), "dB")
    block.set_gain(gain, 0)
    actual["gain"] = same(endpoint, "--gain", gain, block.get_gain(0), max(gains.step(), 1.0), "dB")
    if radio.bandwidth is not None:
        block.set_bandwidth(radio.bandwidth, 0)
        actual["bandwidth"] = block.get_bandwidth(0)
    actual["antenna"] = block.get_antenna(0)
    actual["clock_source"] = block.get_clock_source(0)
    actual["lo_offset"] = radio.lo_offset or 0.0
    return actual
