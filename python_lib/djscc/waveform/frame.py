# SPDX-License-Identifier: GPL-3.0-or-later
"""What the receiver hands over: a frame's symbols with their reliability, and a report of how it was received."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.format import Complex
from djscc.waveform.header import FrameHeader


@dataclass(frozen=True)
class FrameReport:
    """Estimates of one frame's reception.

    sample_index   absolute number of the sample nearest to the preamble's first symbol, counted from the receiver's start.
    timing         how far after that sample the symbol is, in samples, -0.5 to 0.5.
    cfo_hz         carrier frequency offset at the middle of the frame, or of what was received before the signal ended.
    doppler_rate   its drift in Hz/s.
    clock_ppm      sample clock of the transmitter against the receiver's, positive where the transmitter's is faster.
    gain_db        mean power of the received payload, 0 dB where it is sent with ``mean_power`` over no loss.
    phase          carrier phase of the preamble's first symbol in radians.
    snr_db         Es/N0 of a payload symbol, estimated from preamble, header and pilots.
    lost_samples   samples missing within the frame (negative: samples too many).
    overruns       how often the front end said that it lost samples within the frame.
    erased         share of the payload's symbols that were not received, 0 to 1.
    time_s         of that sample, in seconds from the receiver's start.
    """

    sample_index: int
    timing: float
    cfo_hz: float
    doppler_rate: float
    clock_ppm: float
    gain_db: float
    phase: float
    snr_db: float
    lost_samples: int
    erased: float
    overruns: int = 0
    time_s: float = 0.0

    @classmethod
    def exact(cls, snr_db: float) -> FrameReport:
        """That of a frame which came over no waveform: all offsets are 0 and Es/N0 is known."""
        return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, snr_db=snr_db, lost_samples=0, erased=0.0)

    def to_dict(self) -> dict[str, Any]:
        """The estimates by name, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ReceivedFrame:
    """One frame as received, in the order in which the payload was given to the modulator.

    symbols         complex64 (n,), on the scale of the unit-power symbols sent; 0 where not received.
    noise_variance  float32 (n,): of the complex noise in each symbol after equalisation; infinite where not received.
    received        bool (n,): False marks an erasure.
    """

    header: FrameHeader
    symbols: Complex
    noise_variance: NDArray[np.float32]
    received: NDArray[np.bool_]
    report: FrameReport


@dataclass
class ReceiverCounters:
    """What a receiver has seen since its start.

    samples          samples taken in.
    invalid_samples  of these, not finite or absurdly large; taken as zeros, and longer stretches erased.
    detections       preambles found.
    frames           frames handed over.
    headers_lost     preambles whose header did not decode.
    frames_missed    frames that the counter in the headers of one codec says were sent but not received.
    lost_samples     samples found missing within frames.
    overruns         times that the front end said that it lost samples.
    truncated        frames whose end was not received.
    """

    samples: int = 0
    invalid_samples: int = 0
    detections: int = 0
    frames: int = 0
    headers_lost: int = 0
    frames_missed: int = 0
    lost_samples: int = 0
    overruns: int = 0
    truncated: int = 0

    def to_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)
