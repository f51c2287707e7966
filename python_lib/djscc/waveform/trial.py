# SPDX-License-Identifier: GPL-3.0-or-later
"""One frame over a simulated link: what the receiver makes of it, next to an ideal receiver of the same noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from djscc.waveform.format import (
    BLOCK_SYMBOLS,
    DATA_SYMBOLS,
    PILOT_SYMBOLS,
    PREAMBLE_SYMBOLS,
    PULSE_SPAN,
    Complex,
    WaveformSettings,
)
from djscc.waveform.frame import ReceivedFrame
from djscc.waveform.header import FrameHeader
from djscc.waveform.impairments import delayed, front_end, noisy, phase_noise, rician, turned
from djscc.waveform.matched_filter import MatchedFilter
from djscc.waveform.modulator import Modulator, encode_header
from djscc.waveform.payload import from_air, to_air
from djscc.waveform.receiver import Receiver


@dataclass(frozen=True)
class Link:
    """A link between two radios. ``None`` leaves an impairment out.

    snr_db        Es/N0 of a payload symbol at a channel of mean power 1.
    cfo           carrier offset, share of the symbol rate.
    doppler_rate  Hz/s at 1 Msym/s.
    clock_ppm     by which the transmitter's sample clock is slow.
    delay         samples before the frame, with a fraction.
    phase         carrier phase in radians.
    noisy_phase   phase noise with ``impairments.PHASE_NOISE_MASK``, at 1 Msym/s.
    k_db, spread_hz  Rician fading, at 1 Msym/s.
    dc, image_db  of the receiver, over the signal's rms.
    bits          of the receiver's converter, whose full scale is four times the rms of its input.
    """

    snr_db: float
    cfo: float = 0.0
    doppler_rate: float = 0.0
    clock_ppm: float = 0.0
    delay: float = 2000.0
    phase: float = 0.0
    noisy_phase: bool = False
    k_db: float | None = None
    spread_hz: float = 0.0
    dc: complex = 0.0
    image_db: float | None = None
    bits: int | None = None


def working_range(snr_db: float, rng: np.random.Generator) -> Link:
    """A link with everything in the receiver's working range drawn at random, uniformly; K from 10 to 20 dB."""
    return Link(
        snr_db=snr_db,
        cfo=rng.uniform(-0.08, 0.08),
        doppler_rate=rng.uniform(-1e4, 1e4),
        clock_ppm=rng.uniform(-50, 50),
        delay=rng.uniform(500, 14000),
        phase=rng.uniform(-np.pi, np.pi),
        noisy_phase=True,
        k_db=rng.uniform(10, 20),
        spread_hz=rng.uniform(0, 100),
        dc=0.03 * np.exp(2j * np.pi * rng.uniform()),
        image_db=-35.0,
        bits=12,
    )


@dataclass(frozen=True)
class Trial:
    """What became of one frame.

    detections   preambles that the receiver found.
    frames       frames that it delivered; frame is the first of them.
    wrong        frames delivered whose header is not the one sent.
    snr_db       of the equalised payload, scale-invariant, each symbol weighted by the true channel's power.
    ideal_db     the same of an ideal receiver that knows the channel.
    channel_db   Es/N0 over the frame, with the channel's mean power during it.
    """

    detections: int
    headers_lost: int
    frames: int
    wrong: int
    snr_db: float
    ideal_db: float
    channel_db: float
    frame: ReceivedFrame | None
    ideal: Complex
    payload: Complex


def gaussian(count: int, rng: np.random.Generator) -> Complex:
    """Circular complex Gaussian symbols of mean power 1."""
    values = rng.standard_normal((count, 2), np.float32).view(np.complex64)[:, 0]
    return (values / np.sqrt(np.mean(np.abs(values) ** 2))).astype(np.complex64)


def example_header(tiles: int, seed: int = 1, layers: int = 16) -> FrameHeader:
    """Header of a frame of ``tiles`` RGB tiles of 64 x 64 pixels; the default frame has 64 at a ratio of 1/12."""
    return FrameHeader(0xC0DEC1D5, 0x5CE9E, seed, 0, tiles, (layers,) * tiles, 64, 64, 64, 3, seed=seed)


def run(
    link: Link,
    header: FrameHeader,
    payload: Complex,
    rng: np.random.Generator,
    settings: WaveformSettings | None = None,
) -> Trial:
    """Send one frame over the link, receive it, and compare."""
    settings = settings or WaveformSettings()
    sps = settings.samples_per_symbol
    stretch = 1 + link.clock_ppm * 1e-6
    sent = delayed(Modulator(settings).modulate(header, payload), link.delay, link.clock_ppm)
    sent = np.concatenate([sent, np.zeros(2 * 9216 * sps, np.complex64)])
    rate = settings.sample_rate
    gain = turned(
        np.ones(sent.size, np.complex64),
        link.cfo / sps,
        link.doppler_rate * settings.symbol_rate / 1e6 / rate**2,
        link.phase,
    )
    if link.noisy_phase:
        gain = gain * np.exp(1j * phase_noise(sent.size, sps * 1e6, rng))
    if link.k_db is not None:
        gain = gain * rician(sent.size, 10 ** (link.k_db / 10), link.spread_hz / 1e6 / sps, rng)
    gain = gain.astype(np.complex64)
    variance = settings.mean_power * sps * 10 ** (-link.snr_db / 10)
    noise = noisy(np.zeros(sent.size, np.complex64), variance, rng)
    samples = sent * gain + noise
    if link.bits is not None:
        rms = float(np.sqrt(np.mean(np.abs(samples) ** 2)))
        image = 0.0 if link.image_db is None else 10 ** (link.image_db / 20)
        samples = front_end(samples, link.dc * np.sqrt(settings.mean_power), image * np.exp(1j), link.bits, 4 * rms)
    receiver = Receiver(settings)
    frames = receiver.push(samples) + receiver.flush()
    good = [f for f in frames if f.header == header]

    known = encode_header(header).size
    index = known + np.arange(payload.size)
    symbol = PREAMBLE_SYMBOLS + PILOT_SYMBOLS * (1 + index // DATA_SYMBOLS) + index
    blocks = -(-(known + payload.size) // DATA_SYMBOLS)
    matched = MatchedFilter(settings, BLOCK_SYMBOLS // 2)
    first = link.delay * stretch + PULSE_SPAN * sps * stretch
    runs = first + sps * stretch * (PREAMBLE_SYMBOLS + matched.run * np.arange(2 * blocks))
    filtered = matched(noise / gain, runs, 0.0)[0].reshape(blocks, BLOCK_SYMBOLS)
    seen = filtered[:, PILOT_SYMBOLS:].reshape(-1)[known : known + payload.size] / settings.scale
    instants = np.rint(first + sps * stretch * symbol).astype(np.int64)
    level = np.abs(gain[instants]) ** 2
    every = np.ones(payload.size, bool)
    ideal, spread_out, _ = from_air(to_air(payload, header.seed) + seen, 1 / level, every, header.seed)
    weight = 1 / spread_out
    frame = good[0] if good else None
    received = frame.received if frame else np.ones(payload.size, bool)
    return Trial(
        detections=receiver.counters.detections,
        headers_lost=receiver.counters.headers_lost,
        frames=len(frames),
        wrong=len(frames) - len(good),
        snr_db=_snr_db(payload, frame.symbols, weight * received) if frame and received.any() else float("nan"),
        ideal_db=_snr_db(payload, ideal, weight * received) if received.any() else float("nan"),
        channel_db=link.snr_db + 10 * float(np.log10(np.mean(level))),
        frame=frame,
        ideal=ideal,
        payload=payload,
    )


def _snr_db(sent: Complex, received: Complex, weight: NDArray[np.float32]) -> float:
    sent, received = sent.astype(np.complex128), received.astype(np.complex128)
    cross = np.sum(weight * received * sent.conj())
    energy = np.sum(weight * np.abs(sent) ** 2)
    error = np.sum(weight * np.abs(received - cross / energy * sent) ** 2)
    return float(10 * np.log10(abs(cross) ** 2 / energy / error))
