# SPDX-License-Identifier: GPL-3.0-or-later
"""Transmitter and receiver at once, over one radio or two: a bench that is measured with known frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from djscc.radio import Endpoint, RadioEvents, RadioSettings
from djscc.waveform import WaveformSettings

from .decoder_sink import FrameTaker
from .encoder_source import Frame
from .frame_receiver import SampleTap
from .radio_link import radio_receiver, radio_transmitter

LISTEN_S = 0.5  # before and after the frames


def radio_bench(
    frames: Iterable[Frame],
    count: int,
    sink: tuple[Endpoint, RadioSettings],
    source: tuple[Endpoint, RadioSettings],
    settings: WaveformSettings,
    taker: FrameTaker,
    tap: SampleTap,
    events: RadioEvents,
    seconds: float,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Send ``frames``, of which there are ``count``, by ``sink``; give what ``source`` receives to ``taker`` and ``tap``.

    Ends when all have come, or ``seconds`` after the last was sent. The error of either end is raised.
    """
    receiver = radio_receiver(taker, *source, settings, events, count, tap=tap)
    transmitter = radio_transmitter(frames, *sink, settings, events)
    deadline = [float("inf")]
    errors: list[BaseException] = []

    def receive() -> None:
        try:
            receiver.run_to_end(lambda: stop() or time.monotonic() > deadline[0])
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=receive, name="bench receiver")
    thread.start()
    try:
        time.sleep(LISTEN_S)
        if not errors:
            transmitter.run_to_end(lambda: stop() or bool(errors))
        deadline[0] = time.monotonic() + seconds
    finally:
        deadline[0] = min(deadline[0], time.monotonic() + seconds)
        thread.join()
    if errors:
        raise errors[0]
