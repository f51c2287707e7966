# SPDX-License-Identifier: GPL-3.0-or-later
"""Modulator and receiver for continuous-amplitude symbols: frames that describe themselves, found and tracked at -8 dB."""

from djscc.waveform.format import WaveformError, WaveformSettings
from djscc.waveform.frame import FrameReport, ReceivedFrame, ReceiverCounters
from djscc.waveform.header import FrameHeader
from djscc.waveform.modulator import Modulator
from djscc.waveform.receiver import Receiver

__all__ = [
    "FrameHeader",
    "FrameReport",
    "Modulator",
    "ReceivedFrame",
    "Receiver",
    "ReceiverCounters",
    "WaveformError",
    "WaveformSettings",
]
