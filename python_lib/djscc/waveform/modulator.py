# SPDX-License-Identifier: GPL-3.0-or-later
"""From a header and a payload of symbols to the samples of one frame."""

from __future__ import annotations

import numpy as np
import scipy.fft

from djscc.waveform.format import (
    DATA_SYMBOLS,
    PILOT_SYMBOLS,
    PULSE_SPAN,
    Complex,
    WaveformError,
    WaveformSettings,
    data_blocks,
    frame_symbols,
    pilots,
    preamble,
    rrc_pulse,
    tail_pilots,
)
from djscc.waveform.header import FrameHeader, encode_block, header_bits
from djscc.waveform.payload import to_air


def encode_header(header: FrameHeader) -> Complex:
    """All header symbols of a frame: the base's, then the extension's where there is one."""
    base, extension = header_bits(header)
    return np.concatenate([encode_block(base), *([encode_block(extension)] if extension.size else [])])


def compose(data: Complex) -> Complex:
    """Put preamble, pilots and tail around the data symbols of a frame."""
    blocks = data_blocks(data.size)
    padded = np.zeros((blocks, DATA_SYMBOLS), np.complex64)
    padded.reshape(-1)[: data.size] = data
    body = np.concatenate([pilots(blocks), padded], axis=1).reshape(-1)
    return np.concatenate([preamble(), body[: blocks * PILOT_SYMBOLS + data.size], tail_pilots()])


class Modulator:
    """Makes the samples of frames. Stateless: each frame is a whole burst that may follow another directly.

    Working range: payload symbols of mean power 1, any distribution. Envelopes above full scale are clipped to it.
    """

    def __init__(self, settings: WaveformSettings | None = None) -> None:
        self.settings = settings or WaveformSettings()
        self._pulse = rrc_pulse(self.settings.samples_per_symbol, self.settings.roll_off) * self.settings.scale

    def modulate(self, header: FrameHeader, payload: Complex) -> Complex:
        """Samples (m,) of the frame that carries ``payload`` (header.payload_symbols,), envelope at most 1."""
        payload = np.asarray(payload, np.complex64)
        if payload.shape != (header.payload_symbols,):
            raise WaveformError(
                f"the payload has shape {payload.shape}, the header tells of {header.payload_symbols} symbols: "
                "give one symbol for each layer, tile and symbols_per_layer"
            )
        if not np.isfinite(payload).all():
            raise WaveformError("the payload holds symbols that are not finite: check the encoder's output")
        symbols = compose(np.concatenate([encode_header(header), to_air(payload, header.seed)]))
        return self._shape(symbols)

    def _shape(self, symbols: Complex) -> Complex:
        """Pulse-shape, scale and clip; the first symbol's peak is ``PULSE_SPAN`` symbols after the first sample."""
        sps = self.settings.samples_per_symbol
        length = (symbols.size - 1) * sps + self._pulse.size
        impulses = np.zeros(scipy.fft.next_fast_len(length), np.complex64)
        impulses[: symbols.size * sps : sps] = symbols
        response = scipy.fft.fft(self._pulse.astype(np.complex64), impulses.size)
        samples = scipy.fft.ifft(scipy.fft.fft(impulses) * response)[:length]
        envelope = np.abs(samples)
        return (samples / np.maximum(envelope, 1)).astype(np.complex64)

    def on_air_symbols(self, header: FrameHeader) -> int:
        """Symbol periods that the frame takes on the air: payload, header, pilots, preamble, tail and pulse tails."""
        return frame_symbols(encode_header(header).size + header.payload_symbols) + 2 * PULSE_SPAN

    def guard(self) -> Complex:
        """Silence that the receiver needs after the last frame to deliver it without a ``flush``."""
        return np.zeros(GUARD_SYMBOLS * self.settings.samples_per_symbol, np.complex64)


GUARD_SYMBOLS = 8192  # one block of the detector
