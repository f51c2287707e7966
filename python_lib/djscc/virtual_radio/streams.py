# SPDX-License-Identifier: GPL-3.0-or-later
"""The queues between a radio and its client: samples to send, and samples received. The air's lock guards them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex64]
Words = NDArray[np.int16]


@dataclass(frozen=True)
class Event:
    """Something that befell a transmission: "underrun", "late", or "sent" (a burst is over), at a sample of its clock."""

    kind: str
    index: int


@dataclass
class _Piece:
    samples: Complex
    start: int | None  # sample of the transmitter's clock that it is due at, if it was given one
    end: bool  # whether a burst ends with it
    used: int = 0


class TransmitStream:
    """Samples that wait to be sent.

    Args:
        capacity: samples that may wait; ``room`` says how many more.
        cyclic: send what was put for ever.
        fill: samples that a burst without a start of its own waits for before it begins (or for HESITATION pulls, or its end),
            so that its first samples do not run dry: the latency of a radio's own queue.
    """

    HESITATION = 12

    def __init__(self, capacity: int, cyclic: bool = False, fill: int = 0) -> None:
        self.capacity, self.cyclic, self.fill = capacity, cyclic, min(fill, capacity // 2)
        self._hesitated = 0
        self.waiting = 0
        self.underruns = self.late = 0
        self.underrun_samples = 0
        self.events: deque[Event] = deque(maxlen=1000)
        self._pieces: deque[_Piece] = deque()
        self._in_burst = self._gap = self._dropping = False

    @property
    def room(self) -> int:
        """Samples that may be put now."""
        return self.capacity - self.waiting

    def put(self, samples: Complex, start: int | None = None, end: bool = False) -> None:
        """Queue samples (any number); ``start`` is when the burst that they begin is due, ``end`` ends one."""
        if self._dropping:
            self._dropping = not end
            return
        self._pieces.append(_Piece(samples, start, end))
        self.waiting += len(samples)

    def pull(self, count: int, index: int) -> Complex | None:
        """The next ``count`` samples on the air, from sample ``index`` of the clock on; None for silence."""
        result: Complex | None = None
        at = 0
        while at < count:
            if not self._pieces:
                if self._in_burst:
                    self.underrun_samples += count - at
                    if not self._gap:
                        self._gap = True
                        self.underruns += 1
                        self.events.append(Event("underrun", index + at))
                break
            piece = self._pieces[0]
            if piece.start is not None:
                ahead = piece.start - (index + at)
                if ahead < 0:
                    self._drop_burst(index + at)
                    continue
                if ahead > 0:
                    at += min(ahead, count - at)
                    continue
                piece.start = None
            elif not self._in_burst and self._should_wait():
                self._hesitated += 1
                break
            self._in_burst, self._gap, self._hesitated = True, False, 0
            n = min(len(piece.samples) - piece.used, count - at)
            if n:
                if result is None:
                    result = np.zeros(count, np.complex64)
                result[at : at + n] = piece.samples[piece.used : piece.used + n]
            piece.used += n
            at += n
            if piece.used == len(piece.samples):
                self._pieces.popleft()
                if self.cyclic:
                    piece.used = 0
                    self._pieces.append(piece)
                    continue
                self.waiting -= len(piece.samples)
                if piece.end:
                    self._in_burst = False
                    self.events.append(Event("sent", index + at))
        return result

    def _should_wait(self) -> bool:
        """Whether the burst at hand had better not begin yet."""
        return self.waiting < self.fill and self._hesitated < self.HESITATION and not self._pieces[-1].end

    def _drop_burst(self, index: int) -> None:
        """A burst came too late: none of it is sent."""
        self.late += 1
        self.events.append(Event("late", index))
        while self._pieces:
            piece = self._pieces.popleft()
            self.waiting -= len(piece.samples)
            if piece.end:
                return
        self._dropping = True

    def limit(self, index: int) -> int | None:
        """Samples for which it is known what to send; None when that is for ever (silence, or a cycle)."""
        if self.cyclic or (not self._pieces and not self._in_burst) or (self._pieces and self._pieces[-1].end):
            return None
        first = self._pieces[0].start if self._pieces else None
        ahead = max(first - index, 0) if first is not None else 0
        return ahead + self.waiting - (self._pieces[0].used if self._pieces else 0)

    def give_up(self) -> None:
        """What was being sent goes no further: silence from now on, counted as an underrun."""
        if self._in_burst:
            self._in_burst = False
            self.underruns += 1


@dataclass(frozen=True)
class Block:
    """Received samples: index of the first on the receiver's clock, interleaved I and Q (N, 2), whether some were lost before."""

    index: int
    words: Words
    after_loss: bool = False


class ReceiveStream:
    """Samples that wait to be read.

    When ``capacity`` samples wait, those that come are lost until there is room for ``refill``: as in hardware, where a whole
    buffer must be free before the transfer starts anew.

    Args:
        capacity: samples.
        refill: samples.
        keep_all: lose nothing; the air does not go on instead.
    """

    def __init__(self, capacity: int, refill: int = 1, keep_all: bool = False) -> None:
        self.capacity, self.refill, self.keep_all = capacity, refill, keep_all
        self.waiting = 0
        self.overruns = self.lost_samples = 0
        self.start: int | None = None
        """Sample of the receiver's clock to begin with, None for the first that comes."""
        self.remaining: int | None = None
        """Samples still to be taken, None for no end."""
        self._blocks: deque[Block] = deque()
        self._losing = False

    @property
    def room(self) -> int:
        """Samples that may come before any is lost."""
        return self.capacity - self.waiting

    def put(self, index: int, words: Words) -> None:
        """Queue samples, (N, 2), the first of them with this index."""
        if self.start is not None:
            skip = min(max(self.start - index, 0), len(words))
            index, words = index + skip, words[skip:]
            if not len(words):
                return
            self.start = None
        if self.remaining is not None:
            words = words[: self.remaining]
            self.remaining -= len(words)
        if not len(words):
            return
        fits = len(words)
        if not self.keep_all:
            fits = 0 if self._losing and self.room < self.refill else min(self.room, fits)
        if fits:
            self._blocks.append(Block(index, words[:fits], self._losing))
            self._losing = False
            self.waiting += fits
        if fits < len(words):
            self.lost_samples += len(words) - fits
            self.overruns += not self._losing
            self._losing = True

    def take(self, count: int) -> Block | None:
        """The next samples, at most ``count`` of them, without a gap between; None when none wait."""
        if not self._blocks:
            return None
        block = self._blocks.popleft()
        if len(block.words) > count:
            self._blocks.appendleft(Block(block.index + count, block.words[count:]))
            block = Block(block.index, block.words[:count], block.after_loss)
        self.waiting -= len(block.words)
        return block

    def read(self, count: int) -> bytes:
        """Exactly ``count`` samples as bytes, gaps or not; as many must wait."""
        parts = []
        while count > 0:
            block = self.take(count)
            assert block is not None, "more was read than waits"
            parts.append(block.words.tobytes())
            count -= len(block.words)
        return b"".join(parts)
