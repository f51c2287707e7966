# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver: a stream of samples in, whole frames out."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from djscc.waveform.buffer import SampleBuffer
from djscc.waveform.detector import Detector
from djscc.waveform.equaliser import equalise
from djscc.waveform.format import (
    BLOCK_SYMBOLS,
    PILOT_SYMBOLS,
    PREAMBLE_SYMBOLS,
    PULSE_SPAN,
    TAIL_SYMBOLS,
    Bits,
    Complex,
    WaveformError,
    WaveformSettings,
    data_blocks,
    frame_symbols,
    turn,
)
from djscc.waveform.frame import FrameReport, ReceivedFrame, ReceiverCounters
from djscc.waveform.front_end import correct_samples
from djscc.waveform.header import (
    BASE_BITS,
    HEADER_SYMBOLS,
    BaseHeader,
    FrameHeader,
    decode_block,
    parse_base,
    parse_header,
)
from djscc.waveform.matched_filter import MatchedFilter
from djscc.waveform.modulator import encode_header
from djscc.waveform.payload import from_air
from djscc.waveform.synchronise import Synchronisation, synchronise
from djscc.waveform.tracking import PilotTracker

_LARGEST = np.float32(1e9)  # amplitude beyond which a sample is taken for an error
_CHUNK = 1 << 16
_MAX_CLOCK = 60e-6
_HEADER_DRIFTS = (0.0, 4e-5, -4e-5)  # cycles per symbol that the carrier may have strayed since the preamble
_RUN = BLOCK_SYMBOLS // 2
_SILENCE = 4  # symbols from which on a stretch of zeros is erased; less is left to look like noise
_LONGEST_GAP = 1 << 22  # samples: after more than these no frame goes on


class Receiver:
    """Finds frames in a stream of samples, and hands over their payload with its reliability.

    Takes samples in chunks of any size: the output depends on the stream alone. A frame is handed over once the samples
    are there up to the end that its header announced (or at ``flush``). Memory stays below that of the longest frame.

    Working range, for all stages together, at 1 Msym/s (times and rates scale with the symbol rate): Es/N0 of the payload
    from -8 dB; carrier offset to 8 % of the symbol rate; Doppler rate to 10 kHz/s; sample clocks 50 ppm apart; phase noise
    of ``impairments.PHASE_NOISE_MASK``; flat Rician fading of K 10 dB or more with 100 Hz of Doppler spread; DC, IQ image
    and quantisation of a low-cost front end; losses of 0.2 to 2048 symbols after the preamble. Not for channels with echoes
    longer than a fraction of a symbol: there is no equaliser of more than one tap.

    ``dump`` names a folder for the inner signals of each stage, one .npz file a frame.
    """

    def __init__(self, settings: WaveformSettings | None = None, dump: Path | None = None) -> None:
        self.settings = settings or WaveformSettings()
        self.counters = ReceiverCounters()
        self._sps = self.settings.samples_per_symbol
        self._detector = Detector(self.settings)
        self._matched = MatchedFilter(self.settings, _RUN)
        self._tracker = PilotTracker(self.settings)
        self._dump = dump
        if dump is not None:
            dump.mkdir(parents=True, exist_ok=True)
        self._begin(0)
        self._last: tuple[int, int] | None = None  # codec and number of the frame before
        self._lock = threading.Lock()  # over the next
        self._overruns: list[tuple[int, int, int]] = []  # first and last sample, and how many were lost for certain

    def _begin(self, at: int) -> None:
        self._buffer = SampleBuffer()
        # Silence before the stream: the detector looks for starts from `lead` on, and a frame may start with the stream.
        self._buffer.start = self._buffer.end = at - self._detector.lead
        self._buffer.append(np.zeros(self._detector.lead, np.complex64))
        self._cursor = self._buffer.start  # the search has come so far
        self._need = self._cursor + self._detector.block  # samples that the next step waits for
        self._silent: list[tuple[int, int]] = []  # first and end of the stretches where zeros stand for samples
        self._sync: Synchronisation | None = None  # a frame being received, instants counted from _origin
        self._origin = at
        self._stream_end: int | None = None  # number of samples in the stream, once it has ended
        self._base: BaseHeader | None = None
        self._header: FrameHeader | None = None

    def push(self, samples: Complex) -> list[ReceivedFrame]:
        """Take in samples (any number); returns the frames that they completed."""
        samples = np.asarray(samples, np.complex64).reshape(-1)
        frames: list[ReceivedFrame] = []
        for at in range(0, samples.size, _CHUNK):
            self._take(samples[at : at + _CHUNK])
            frames += self._steps()
        return frames

    def skip(self, count: int) -> list[ReceivedFrame]:
        """The front end lost ``count`` samples here: silence takes their place, so that what follows keeps its place in time.

        What of a frame was lost is erased, the frame counts the overrun. Returns the frames that are complete by this.
        """
        if count < 1:
            raise WaveformError(f"{count} samples lost: give 1 or more")
        at = self._buffer.end
        self.overrun(at, at + count, count)
        self._silent.append((at, at + count))
        if count > _LONGEST_GAP:
            frames = self.flush()
            self._begin(at + count)
            return frames
        frames = []
        for done in range(0, count, _CHUNK):
            self._buffer.append(np.zeros(min(_CHUNK, count - done), np.complex64))
            frames += self._steps()
        return frames

    def overrun(self, first: int, last: int, lost: int = 0) -> None:
        """The front end lost samples somewhere from sample ``first`` to ``last``, ``lost`` of them for certain.

        May be called from another thread than the samples'.
        """
        with self._lock:
            self.counters.overruns += 1
            self._overruns.append((first, last, lost))

    @property
    def position(self) -> int:
        """How far the stream has come, in samples, those that were skipped included."""
        return self._buffer.end

    def _steps(self) -> list[ReceivedFrame]:
        frames = []
        while self._buffer.end >= self._need:
            frame = self._step()
            if frame is not None:
                frames.append(frame)
        return frames

    def flush(self) -> list[ReceivedFrame]:
        """End of the stream: deliver what there is, as if silence followed, and start afresh."""
        end = self._buffer.end
        frames: list[ReceivedFrame] = []
        self._stream_end = end
        while self._cursor < end:
            if self._buffer.end < self._need:
                self._buffer.append(np.zeros(self._need - self._buffer.end, np.complex64))
            frame = self._step()
            if frame is not None:
                frames.append(frame)
        self._begin(end)
        return frames

    def _take(self, samples: Complex) -> None:
        self.counters.samples += samples.size
        with np.errstate(invalid="ignore", over="ignore"):
            valid = (np.abs(samples.real) < _LARGEST) & (np.abs(samples.imag) < _LARGEST)
        if not valid.all():
            self.counters.invalid_samples += int(np.count_nonzero(~valid))
            samples = np.where(valid, samples, np.complex64(0))
            edges = np.flatnonzero(np.diff(valid, prepend=True, append=True))
            for first, end in (edges.reshape(-1, 2) + self._buffer.end).tolist():
                if self._silent and self._silent[-1][1] == first:
                    first = self._silent.pop()[0]
                self._silent.append((first, end))
        self._buffer.append(samples)

    def _step(self) -> ReceivedFrame | None:
        if self._sync is None:
            self._search()
        elif self._header is None:
            self._read_header()
        else:
            return self._receive()
        return None

    def _resume(self, cursor: int) -> None:
        """Go back to the search, from sample number ``cursor`` on."""
        self._sync = self._base = self._header = None
        self._cursor = cursor
        self._need = cursor + self._detector.block
        self._buffer.forget(cursor)
        with self._lock:
            self._overruns = [o for o in self._overruns if o[1] >= cursor]
        self._silent = [s for s in self._silent if s[1] >= cursor]

    def _search(self) -> None:
        detection = self._detector(self._buffer.take(self._cursor, self._need))
        if detection is None:
            self._resume(self._cursor + self._detector.hop)
            return
        self.counters.detections += 1
        self._origin = self._cursor
        self._sync = synchronise(self._buffer.take(self._cursor, self._need), detection, self._matched)
        self._need = self._origin + self._end(HEADER_SYMBOLS)

    def _end(self, data_symbols: int) -> int:
        """Samples after the origin that hold everything up to this number of data symbols."""
        assert self._sync is not None
        symbols = frame_symbols(data_symbols) + PULSE_SPAN + 4
        return int(np.ceil(self._sync.start + symbols * self._sps * (1 + _MAX_CLOCK)))

    def _read_header(self) -> None:
        sync = self._sync
        assert sync is not None
        samples = self._buffer.take(self._origin, self._need)
        if self._base is None:
            bits = self._decode(samples, sync, 0, HEADER_SYMBOLS, BASE_BITS)
            self._base = None if bits is None else parse_base(bits)
            if self._base is None:
                self._lose_header(sync)
                return
            if self._base.extension_bits:
                self._need = self._origin + self._end(HEADER_SYMBOLS + self._base.extension_symbols)
                return
            extension = np.zeros(0, np.uint8)
        else:
            count, length = self._base.extension_symbols, self._base.extension_bits
            read = self._decode(samples, sync, HEADER_SYMBOLS, count, length)
            if read is None:
                self._lose_header(sync)
                return
            extension = read
        self._header = parse_header(self._base, extension)
        if self._header is None:
            self._lose_header(sync)
            return
        self._need = self._origin + self._end(
            HEADER_SYMBOLS + self._base.extension_symbols + self._header.payload_symbols
        )

    def _lose_header(self, sync: Synchronisation) -> None:
        self.counters.headers_lost += 1
        self._resume(max(self._origin + int(sync.start), self._cursor) + PREAMBLE_SYMBOLS // 2 * self._sps)

    def _decode(self, samples: Complex, sync: Synchronisation, first: int, count: int, bits: int) -> Bits | None:
        """Decode the block of ``count`` symbols that starts with data symbol ``first``; None where its CRC fails."""
        blocks = data_blocks(first + count)
        body = sync.start + PREAMBLE_SYMBOLS * self._sps
        symbols = self._matched.stretch(samples, body, blocks * BLOCK_SYMBOLS, sync.frequency, self._sps)
        from_preamble = np.arange(symbols.size) + PREAMBLE_SYMBOLS / 2
        for drift in _HEADER_DRIFTS:
            steady = symbols * turn(-(sync.phase / (2 * np.pi) + drift * from_preamble))
            data = steady.reshape(blocks, BLOCK_SYMBOLS)[:, PILOT_SYMBOLS:].reshape(-1)[first : first + count]
            decoded = decode_block(np.ascontiguousarray(data), bits)
            if decoded is not None:
                return decoded
        return None

    def _receive(self) -> ReceivedFrame:
        header, sync, base = self._header, self._sync, self._base
        assert header is not None and sync is not None and base is not None
        samples = self._buffer.take(self._origin, self._need).copy()
        known = encode_header(header)
        start, sps = int(sync.start), self._sps
        held, available = samples.size, None
        if self._stream_end is not None and self._stream_end < self._need:
            held = self._stream_end - self._origin
            data_symbols = known.size + header.payload_symbols
            symbols_held = (held - start) // sps - PULSE_SPAN
            available = max((symbols_held - PREAMBLE_SYMBOLS) // BLOCK_SYMBOLS, 0)
            if symbols_held >= frame_symbols(data_symbols) - TAIL_SYMBOLS:
                available = None
            elif available <= data_blocks(known.size):
                return self._nothing(header, sync)
        correct_samples(samples, slice(start + PREAMBLE_SYMBOLS * sps, held - (PULSE_SPAN + 16) * sps), sps)
        silent = [(a - self._origin, b - self._origin) for a, b in self._silent if b - a >= _SILENCE * sps]
        result = equalise(samples, sync, known, header.payload_symbols, self._matched, self._tracker, available, silent)
        symbols, variance, received = from_air(result.symbols, result.noise_variance, result.received, header.seed)
        # a frame that an overrun cuts off has its place on the air all the same
        end = held if result.truncated else min(held, int(result.end))
        overruns, skipped = self._overruns_until(self._origin + start, self._origin + end)
        nearest = int(np.rint(result.start))
        report = FrameReport(
            sample_index=self._origin + nearest,
            timing=result.start - nearest,
            cfo_hz=result.frequency * self.settings.sample_rate,
            doppler_rate=result.frequency_rate * self.settings.sample_rate**2,
            clock_ppm=result.clock_ppm,
            gain_db=10 * np.log10(max(result.power / self.settings.scale**2, 1e-30)),
            phase=result.phase,
            snr_db=result.snr_db,
            lost_samples=result.lost_samples + skipped,
            erased=1 - float(np.count_nonzero(received)) / received.size,
            overruns=overruns,
            time_s=(self._origin + nearest) / self.settings.sample_rate,
        )
        if self._dump is not None:
            stages = {"symbols": symbols, "noise_variance": variance, **result.stages}
            np.savez(self._dump / f"frame_{report.sample_index:012d}.npz", **stages)
        self._count(header, report, result.truncated)
        self._resume(self._origin + max(int(result.end), int(sync.start) + PREAMBLE_SYMBOLS * self._sps))
        return ReceivedFrame(header, symbols, variance, received, report)

    def _overruns_until(self, first: int, last: int) -> tuple[int, int]:
        """Overruns from sample ``first`` to ``last``, and the samples lost by them there; those before ``last`` are forgotten."""
        with self._lock:
            within = [o for o in self._overruns if o[0] < last and o[1] > first]
            self._overruns = [o for o in self._overruns if o[1] > last]
        return len(within), sum(min(lost, min(b, last) - max(a, first)) for a, b, lost in within)

    def _nothing(self, header: FrameHeader, sync: Synchronisation) -> ReceivedFrame:
        """A frame of which the stream held little more than the header: all of its payload is erased."""
        count = header.payload_symbols
        overruns, skipped = self._overruns_until(self._origin + int(sync.start), self._need)
        report = FrameReport(
            sample_index=self._origin + int(np.rint(sync.start)),
            timing=sync.start - float(np.rint(sync.start)),
            cfo_hz=sync.frequency * self.settings.sample_rate,
            doppler_rate=0.0,
            clock_ppm=0.0,
            gain_db=float("nan"),
            phase=sync.phase,
            snr_db=float("nan"),
            lost_samples=skipped,
            erased=1.0,
            overruns=overruns,
            time_s=(self._origin + int(np.rint(sync.start))) / self.settings.sample_rate,
        )
        self._count(header, report, True)
        self._resume(self._need)
        erased = np.zeros(count, np.bool_)
        return ReceivedFrame(header, np.zeros(count, np.complex64), np.full(count, np.inf, np.float32), erased, report)

    def _count(self, header: FrameHeader, report: FrameReport, truncated: bool) -> None:
        counters = self.counters
        counters.frames += 1
        counters.lost_samples += abs(report.lost_samples)
        counters.truncated += int(truncated)
        if self._last is not None and self._last[0] == header.codec_id:
            gap = (header.frame_number - self._last[1]) % 65536
            counters.frames_missed += gap - 1 if 0 < gap < 32768 else 0
        self._last = header.codec_id, header.frame_number
