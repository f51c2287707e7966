# SPDX-License-Identifier: GPL-3.0-or-later
"""Test frames whose payload is known beforehand, so that a bench can be judged before any image is sent over it.

They have a codec id of their own, and a payload of pseudo-random QPSK symbols that follows from the header. What arrives tells the
error vector magnitude, the SNR beside the receiver's estimate of it, what was lost, and where in a frame samples are missing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.campaign.reception import finite
from djscc.campaign.runlog import RunLog, now
from djscc.waveform import FrameHeader, ReceivedFrame, WaveformSettings
from djscc.waveform.format import (
    BLOCK_SYMBOLS,
    DATA_SYMBOLS,
    PILOT_SYMBOLS,
    PREAMBLE_SYMBOLS,
    TEST_CODEC_ID,
    hash32,
    interleaver,
)
from djscc.waveform.modulator import encode_header

TILES = 64  # a frame has as many symbols as one of 64 tiles at 1/12
LAYERS = 16
SYMBOLS_PER_LAYER = 64

AVERAGED = ("snr_est_db", "cfo_hz", "clock_ppm", "gain_db")

_QPSK = np.array([1 + 1j, -1 + 1j, -1 - 1j, 1 - 1j], np.complex64) / np.float32(math.sqrt(2))
_KEY = 0x5052


def test_symbols(header: FrameHeader) -> NDArray[np.complex64]:
    """The payload of the test frame with this header: QPSK symbols of power 1."""
    words = hash32(_KEY, header.payload_symbols, header.frame_number * header.payload_symbols)
    return _QPSK[words >> np.uint32(30)]


class TestFrames:
    """An iterable of ``count`` test frames as (header, payload); 65,536 symbols each."""

    __test__ = False  # no test case

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def header(self, index: int) -> FrameHeader:
        """The header of frame ``index``."""
        number = index & 0xFFFF
        return FrameHeader(
            codec_id=TEST_CODEC_ID,
            scene_id=TEST_CODEC_ID,
            frame_number=number,
            tile_index=0,
            tiles_total=TILES,
            layers=(LAYERS,) * TILES,
            symbols_per_layer=SYMBOLS_PER_LAYER,
            tile_height=64,
            tile_width=64,
            bands=1,
            seed=number,
        )

    def frame(self, index: int) -> tuple[FrameHeader, NDArray[np.complex64]]:
        """Header and payload of frame ``index``, which may go on beyond ``count``."""
        header = self.header(index)
        return header, test_symbols(header)

    def __iter__(self) -> Iterator[tuple[FrameHeader, NDArray[np.complex64]]]:
        return (self.frame(index) for index in range(self._count))


class TestSink:
    """Takes received test frames: measures and logs them. Stands where a ``FrameSink`` stands for images."""

    __test__ = False

    def __init__(
        self, log: RunLog | None = None, settings: WaveformSettings | None = None, keep: int | None = None
    ) -> None:
        self._log, self._settings = log, settings or WaveformSettings()
        self.latest: NDArray[np.uint8] | None = None  # there are no tiles
        self.records: deque[dict[str, Any]] = deque(maxlen=keep)
        self._error = self._signal = 0.0
        self._frames = self._lost = self._hit = 0
        self._sums: dict[str, tuple[float, int]] = {}

    def accept(self, frame: ReceivedFrame) -> dict[str, Any]:
        """Measure one frame; returns its record."""
        header, report = frame.header, frame.report
        record: dict[str, Any] = {
            "time": now(),
            "time_s": float(f"{report.time_s:.9g}"),
            "codec_id": f"{header.codec_id:08x}",
            "frame_number": header.frame_number,
            "snr_est_db": finite(report.snr_db),
            "cfo_hz": finite(report.cfo_hz),
            "clock_ppm": finite(report.clock_ppm),
            "gain_db": finite(report.gain_db),
            "lost_samples": int(report.lost_samples),
            "overruns": int(report.overruns),
            "erased": float(1 - frame.received.mean()),
            "received": True,
            "tiles": [],
        }
        if header.codec_id != TEST_CODEC_ID:
            record["refused"] = (
                f"an image frame of codec {header.codec_id:08x}, not a test frame; receive without --prbs"
            )
        else:
            record |= self._measured(frame)
            self._sum_up(record)
        self.records.append(record)
        if self._log is not None:
            self._log.append(record)
        return record

    def _measured(self, frame: ReceivedFrame) -> dict[str, Any]:
        known = test_symbols(frame.header)[frame.received]
        error = float(np.sum(np.abs(frame.symbols[frame.received] - known) ** 2))
        self._error += error
        self._signal += known.size
        values = quality(error, known.size)
        return values | {"missing": missing(frame, self._settings)}

    def _sum_up(self, record: Mapping[str, Any]) -> None:
        self._frames += 1
        self._lost += abs(record["lost_samples"])
        self._hit += bool(record["missing"])
        for key in AVERAGED:
            if record[key] is not None:
                total, count = self._sums.get(key, (0.0, 0))
                self._sums[key] = total + record[key], count + 1

    def summary(self) -> dict[str, Any]:
        """EVM and SNR over all frames, and how many came."""
        means = {key: total / max(count, 1) if count else None for key, (total, count) in self._sums.items()}
        return {
            "frames_received": self._frames,
            **quality(self._error, self._signal),
            **{key: means.get(key) for key in AVERAGED},
            "lost_samples": self._lost,
            "frames_hit": self._hit,
        }

    def close(self) -> None:
        """All is written already."""


def quality(error: float, signal: float) -> dict[str, float | None]:
    """EVM in percent and the SNR that it means, from summed powers."""
    if signal <= 0:
        return {"evm_percent": None, "snr_db": None}
    ratio = max(error / signal, 1e-12)
    return {"evm_percent": finite(100 * math.sqrt(ratio)), "snr_db": finite(-10 * math.log10(ratio))}


def missing(frame: ReceivedFrame, settings: WaveformSettings) -> list[dict[str, float]]:
    """Where in the frame symbols are missing: runs of erased ones, in symbols and ms after its start, at their time on the air."""
    on_air = frame.received[interleaver(frame.received.size, frame.header.seed)]
    edges = np.flatnonzero(np.diff(np.concatenate([[True], on_air, [True]]).astype(np.int8)))
    runs = []
    for first, last in edges.reshape(-1, 2):
        data = int(first) + encode_header(frame.header).size  # number among the data symbols
        symbol = PREAMBLE_SYMBOLS + data // DATA_SYMBOLS * BLOCK_SYMBOLS + PILOT_SYMBOLS + data % DATA_SYMBOLS
        runs.append(
            {"symbol": symbol, "symbols": int(last - first), "after_ms": round(1000 * symbol / settings.symbol_rate, 4)}
        )
    return runs


def line(record: Mapping[str, Any]) -> str:
    """A frame's record in words."""
    if "refused" in record:
        return f"frame {record['frame_number']}: refused: {record['refused']}"

    def shown(key: str, form: str) -> str:
        return "?" if record[key] is None else format(record[key], form)

    text = (
        f"frame {record['frame_number']}: EVM {shown('evm_percent', '.1f')} %, Es/N0 {shown('snr_db', '.1f')} dB "
        f"(estimated {shown('snr_est_db', '.1f')} dB), CFO {shown('cfo_hz', '.1f')} Hz, clock {shown('clock_ppm', '.1f')} ppm"
    )
    for run in record["missing"]:
        text += f"; {run['symbols']} symbols missing {run['after_ms']:.1f} ms after its start"
    if record["lost_samples"]:
        text += f"; {record['lost_samples']} samples lost"
    return text
