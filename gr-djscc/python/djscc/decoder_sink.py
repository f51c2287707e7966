# SPDX-License-Identifier: GPL-3.0-or-later
"""Sink block: received symbols, decoded to images, measured and logged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pmt
from gnuradio import gr
from numpy.typing import NDArray

from djscc.links import MetricsPublisher, Security
from djscc.links.metrics import CONSTELLATION_S, constellation
from djscc.waveform import FrameHeader, FrameReport, ReceivedFrame

from .frame_record import in_a_line, means
from .frame_tags import FRAME, read_header, read_report, to_pmt
from .guard import close_all, guarded
from .image_message import IMAGE, image_message
from .worker import Consumer

METRICS = pmt.intern("metrics")
WHEN_FULL = ("block", "drop")
DRAIN_S = 10.0  # how long stop() waits for the decoder to do what is queued
HOLD_S = 0.01  # how long work() waits for the decoder before it looks for more symbols


class FrameTaker(Protocol):
    """What decodes frames, such as a ``djscc.campaign.reception.FrameSink``."""

    latest: NDArray[np.uint8] | None

    def accept(self, frame: ReceivedFrame) -> dict[str, Any]:
        """Take one frame; returns its record. ``latest`` holds its tiles (N, H, W, C) then."""

    def close(self) -> None:
        """No more frames come."""


class _Frame:
    """A frame whose symbols are still coming."""

    def __init__(self, header: FrameHeader, report: FrameReport) -> None:
        self.header, self.report = header, report
        self.symbols = np.empty(header.payload_symbols, np.complex64)
        self.variance = np.empty(header.payload_symbols, np.float32)
        self.filled = 0

    def fill(self, symbols: NDArray[np.complex64], variance: NDArray[np.float32]) -> int:
        """Take what is still missing; returns how much that was."""
        n = min(len(symbols), len(self.symbols) - self.filled)
        part = slice(self.filled, self.filled + n)
        self.symbols[part], self.variance[part] = symbols[:n], variance[:n]
        self.filled += n
        return n

    @property
    def whole(self) -> bool:
        return self.filled == len(self.symbols)

    def received(self) -> ReceivedFrame:
        return ReceivedFrame(self.header, self.symbols, self.variance, np.isfinite(self.variance), self.report)


class decoder_sink(gr.basic_block):
    """Hands whole frames to a decoder that runs in a thread of its own, behind a queue of ``queue_frames``.

    When the queue is full, the block takes in no more (``block``, for simulation and recordings: nothing is lost), or drops the
    frame, counts it in ``frames_dropped`` and logs it (``drop``, for a radio that does not wait).

    A flowgraph that is stopped waits for ``DRAIN_S`` until the decoder has done what is queued; what it has not by then counts as
    dropped.

    The last item is taken off the input only when the decoder is done, since the flowgraph ends when all has been taken: so
    that all results are there when it has ended.

    Message ports: ``metrics`` gets a PDU for each frame, a dict of its mean values and the whole record as JSON (UTF-8);
    ``image`` a PDU of a dict that describes them and the pixels of its tiles.

    Args:
        sink: what takes the frames.
        when_full: ``block`` or ``drop``.
        queue_frames: frames that wait for the decoder at most.
        log_frames: log a line for each frame.
        on_drop: called with each frame that was dropped.
        queue_symbols: in place of ``queue_frames``, payload symbols that wait for the decoder at most, 13 bytes each.
    """

    def __init__(
        self,
        sink: FrameTaker,
        when_full: str = "block",
        queue_frames: int = 4,
        log_frames: bool = False,
        on_drop: Callable[[ReceivedFrame], None] | None = None,
        queue_symbols: int | None = None,
    ) -> None:
        if when_full not in WHEN_FULL:
            raise ValueError(f"when_full {when_full!r}: give one of {', '.join(WHEN_FULL)}")
        gr.basic_block.__init__(self, "decoder_sink", [np.complex64, np.float32], None)
        self.error: Exception | None = None
        self.frames = self.frames_dropped = 0
        self._sink, self._waits, self._log_frames, self._on_drop = sink, when_full == "block", log_frames, on_drop
        self.publisher: MetricsPublisher | None = None
        self._constellation_at = 0.0
        if queue_symbols is None:
            self._decoder = Consumer(self._decode, queue_frames)
        else:
            self._decoder = Consumer(self._decode, queue_symbols, lambda frame: len(frame.symbols))
        self._frame: _Frame | None = None
        self._ahead = 0  # items at the head of the input that were read already
        self.message_port_register_out(METRICS)
        self.message_port_register_out(IMAGE)

    @classmethod
    def make(
        cls,
        references: str = "",
        run: str = "",
        decoder: str = "",
        metrics: tuple[str, ...] = ("mse", "psnr_db", "ssim"),
        when_full: str = "block",
        queue_frames: int = 4,
        log_frames: bool = True,
        publish: str = "",
        keys: str = "",
        insecure: bool = False,
    ) -> decoder_sink:
        """A decoder sink from plain values. Codecs are found by the id in the frames' headers.

        ``references`` are the originals to measure against, as encoder_source's ``data``, if they are at hand; ``run`` is a
        run folder to log to, if any (RunError where it holds a run already); ``decoder`` a name among the codec's decoders, or
        empty for its first. ``publish`` is an address such as tcp://127.0.0.1:5557 where frames, their tiles and some symbols are
        published for ``djscc monitor`` and ``djscc log``; beyond this machine it needs a folder of ``keys``, or ``insecure``.
        """
        from djscc.campaign import RunLog
        from djscc.campaign.reception import FrameSink
        from djscc.campaign.runlog import RunError
        from djscc.campaign.scenes import read_scene

        originals = read_scene(references)[0] if references else None
        log = None
        if run:
            log = RunLog(run)
            if log.frames.exists():
                raise RunError(f"{log.folder}: holds a run already; give another run folder, or move that one away")
            log.start({"references": references, "decoder": decoder, "metrics": list(metrics)}, replace=True)
        sink = FrameSink((), originals, log, metrics=metrics, decoder=decoder or None, keep=1)
        block = cls(sink, when_full, queue_frames, log_frames)
        if publish:
            settings = {"decoder": decoder or "the codec's first", "when_full": when_full, "queue_frames": queue_frames}
            block.publisher = MetricsPublisher(publish, Security(keys or None, insecure), settings=settings)
            block.publisher.status = lambda: {"frames_dropped": block.frames_dropped}
            sink.observers.append(block.publisher.frame)
        return block

    def start(self) -> bool:
        self._decoder.start()
        return True

    def stop(self) -> bool:
        end = () if self.publisher is None else (self.publisher.end,)
        close_all(self, self._drain, self._sink.close, *end)
        return True

    def _drain(self) -> None:
        left = self._decoder.drain(DRAIN_S)
        if self._held_up and self._frame is not None:
            left.append(self._frame.received())
        if not left:
            return
        failed = self._decoder.error is not None or self.error is not None
        self.logger.warn(
            f"{len(left)} frames not decoded: {'the decoder failed' if failed else 'the flowgraph was stopped'}"
        )
        if not failed:
            for received in left:
                self._count_dropped(received)

    def forecast(self, noutput_items: int, ninputs: int) -> list[int]:
        return [1] * ninputs

    @guarded
    def general_work(self, input_items: list[NDArray[Any]], output_items: list[NDArray[Any]]) -> int:
        symbols, variance = input_items
        n = min(len(symbols), len(variance))
        before, read = self._ahead, self._read(symbols[:n], variance[:n])
        if read == n:
            settled = not self._held_up and self._decoder.wait_idle(HOLD_S if read == before else 0)
            self._ahead = 0 if settled else 1
        else:
            self._ahead = 0
        self.consume_each(read - self._ahead)
        return 0

    @property
    def _held_up(self) -> bool:
        """True while a whole frame waits for a place in the queue."""
        return self._frame is not None and self._frame.whole

    def _read(self, symbols: NDArray[np.complex64], variance: NDArray[np.float32]) -> int:
        """Take frames from the input; returns how many items were read, those read before included."""
        start = self.nitems_read(0)
        tags = self.get_tags_in_window(0, self._ahead, len(symbols))
        frames = {tag.offset - start: tag.value for tag in tags if pmt.eq(tag.key, FRAME)}
        at = self._ahead
        while True:
            if self._held_up and not self._hand_over():
                return at
            if at == len(symbols):
                return at
            if at in frames:
                self._frame = _Frame(read_header(frames[at]), read_report(frames[at]))
            if self._frame is None:
                raise ValueError(
                    f"symbol {start + at} belongs to no frame: each frame's first symbol needs a djscc_frame tag, as "
                    "frame_receiver gives it"
                )
            at += self._frame.fill(symbols[at:], variance[at:])

    def _hand_over(self) -> bool:
        """Give the whole frame to the decoder; False while it has no room."""
        frame = self._frame
        assert frame is not None
        received = frame.received()
        if not self._decoder.offer(received, self._waits):
            if self._waits:
                return False
            self._count_dropped(received)
            self.logger.warn(
                f"frame {frame.header.frame_number} dropped, the decoder is behind: {self.frames_dropped} dropped so far"
            )
        self._frame = None
        return True

    def _count_dropped(self, received: ReceivedFrame) -> None:
        self.frames_dropped += 1
        if self._on_drop is not None:
            self._on_drop(received)

    def _decode(self, frame: ReceivedFrame) -> None:
        record = self._sink.accept(frame)
        self.frames += 1
        number, values = frame.header.frame_number, means(record)
        if "refused" in record:
            self.logger.error(f"frame {number} refused: {record['refused']}")
        elif self._log_frames:
            self.logger.info(in_a_line(number, values))
        dropped = {"frames_dropped": self.frames_dropped}
        text = json.dumps(record | dropped | self._for_a_monitor(frame)).encode()
        about = to_pmt({"frame_number": number, **values, **dropped})
        self.message_port_pub(METRICS, pmt.cons(about, pmt.init_u8vector(len(text), list(text))))
        tiles = self._sink.latest
        if tiles is not None and "refused" not in record and not pmt.is_null(self.message_subscribers(IMAGE)):
            self.message_port_pub(IMAGE, image_message(frame.header, tiles, values))

    def _for_a_monitor(self, frame: ReceivedFrame) -> dict[str, Any]:
        """The header, and a few times a second some of the symbols."""
        more: dict[str, Any] = {"header": frame.header.to_dict()}
        if time.monotonic() - self._constellation_at >= CONSTELLATION_S:
            self._constellation_at = time.monotonic()
            more["constellation"] = constellation(frame)
        return more
