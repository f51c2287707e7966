# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a flowgraph to its end: an error in one of its blocks is raised to the caller, and nothing is waited for without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from gnuradio import gr

from djscc.errors import DjsccError

from .guard import taken

POLL_S = 0.1
STOP_S = 60.0  # for the blocks to end once they have been told to


class FlowgraphStalledError(DjsccError):
    """Nothing moved in a flowgraph for too long."""


def run_to_end(
    top_block: gr.top_block, blocks: Sequence[Any], stall_s: float = 300.0, look: Callable[[], None] | None = None
) -> None:
    """Start a flowgraph and wait until it has ended by itself.

    Args:
        top_block: the flowgraph.
        blocks: those of this module that are in it; the first one's error is raised.
        stall_s: give up with FlowgraphStalledError when none of them took or gave an item for so many seconds.
        look: called every ``POLL_S`` meanwhile.
    """
    ended = threading.Event()

    def wait() -> None:
        top_block.wait()
        ended.set()

    top_block.start()
    threading.Thread(target=wait, name="flowgraph wait", daemon=True).start()
    try:
        _watch(ended, blocks, stall_s, look)
    finally:
        if not ended.is_set():
            top_block.stop()
            ended.wait(STOP_S)
    failed = [block for block in blocks if block.error is not None]
    for block in failed:
        taken(block.error)
    for block in failed:
        block.error.add_note(f"in the flowgraph's block {block.name()}")
        raise block.error


def _watch(
    ended: threading.Event, blocks: Sequence[Any], stall_s: float, look: Callable[[], None] | None = None
) -> None:
    """Return when the flowgraph has ended, or a block has an error and no streams, by whose end the others would learn of it."""
    alone = [block for block in blocks if not any(_ports(block))]
    moved, since = _progress(blocks), time.monotonic()
    while not ended.wait(POLL_S):
        if look is not None:
            look()
        if any(block.error for block in alone):
            return
        now = _progress(blocks)
        if now != moved:
            moved, since = now, time.monotonic()
        elif time.monotonic() - since > stall_s:
            raise FlowgraphStalledError(
                f"the flowgraph stands still since {stall_s:g} s; items taken and given by each block: "
                + ", ".join(f"{b.name()} {read}/{written}" for b, (read, written, _) in zip(blocks, now, strict=True))
            )


def _ports(block: Any) -> tuple[int, int]:
    """How many streams a block may take and give."""
    return block.input_signature().max_streams(), block.output_signature().max_streams()


def _progress(blocks: Sequence[Any]) -> list[tuple[int, int, int]]:
    """Items read and written by each block, on its first ports, and frames done."""
    return [
        (
            block.nitems_read(0) if inputs else 0,
            block.nitems_written(0) if outputs else 0,
            getattr(block, "frames", 0),  # a decoder works off its queue when the stream has ended
        )
        for block, (inputs, outputs) in ((block, _ports(block)) for block in blocks)
    ]
