# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel block: what a described channel makes of a stream of samples."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.channels import SampleChannel, load_channel
from djscc.waveform import WaveformSettings

from .stream_block import Piece, StreamBlock


class channel(StreamBlock):
    """Passes samples through a ``djscc.channels.SampleChannel``; Es/N0 and carrier offset can be changed meanwhile.

    Args:
        samples: the channel.
    """

    def __init__(self, samples: SampleChannel) -> None:
        StreamBlock.__init__(self, "channel", [np.complex64])
        self._channel = samples
        self._lock = threading.Lock()

    @classmethod
    def make(
        cls,
        description: str = "awgn",
        snr_db: float | None = None,
        cfo_hz: float | None = None,
        clock_ppm: float | None = None,
        delay_samples: float | None = None,
        seed: int = 1,
        symbol_rate: float = 1e6,
        samples_per_symbol: int = 2,
        back_off_db: float = 9.0,
    ) -> channel:
        """A channel from plain values: a preset's name or a YAML file, and what to change in it (None leaves it).

        ``symbol_rate``, ``samples_per_symbol`` and ``back_off_db`` are the modulator's: Es/N0 refers to its frames' mean power.
        """
        values = {"snr_db": snr_db, "cfo_hz": cfo_hz, "clock_ppm": clock_ppm, "delay_samples": delay_samples}
        changed = load_channel(description).replace({key: value for key, value in values.items() if value is not None})
        settings = WaveformSettings(symbol_rate, samples_per_symbol, back_off_db=back_off_db)
        return cls(SampleChannel(changed, settings.sample_rate, samples_per_symbol, settings.mean_power, seed))

    def set_snr_db(self, snr_db: float | None) -> None:
        """Change the mean Es/N0 from the next samples on; None leaves it."""
        self._change(snr_db=snr_db)

    def set_cfo_hz(self, cfo_hz: float | None) -> None:
        """Change the carrier frequency offset from the next samples on, without a jump of the phase; None leaves it."""
        self._change(cfo_hz=cfo_hz)

    def _change(self, **changes: float | None) -> None:
        with self._lock:  # callers are in other threads than the samples
            self._channel.change(**changes)

    def take(self, items: NDArray[np.complex64], tags: Sequence[tuple[int, Any, Any]]) -> Iterator[Piece]:
        with self._lock:
            yield Piece((self._channel.push(items),))

    def finish(self) -> Iterator[Piece]:
        yield Piece((self._channel.flush(),))
