# SPDX-License-Identifier: GPL-3.0-or-later
"""The closed loop of a running transmitter: a controller fed with what the receiver publishes."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from pathlib import Path

from djscc.campaign.transmit_log import Key, key_of
from djscc.codec import Codec
from djscc.errors import DjsccError
from djscc.link_control.choices import Choice, choices_of_model, ratios_of
from djscc.link_control.controller import Controller, ControllerSettings
from djscc.links import MetricsSubscriber, Received, Security, parse_address
from djscc.semantic_loss import FittedModel, load_models, only_model
from djscc.waveform import FrameHeader

logger = logging.getLogger(__name__)

REMEMBERED = 10_000  # frames under way


def loop_of_model(
    path: str | Path,
    wanted: float,
    codec: Codec,
    address: str,
    security: Security | None = None,
    metric: str | None = None,
    channel: str | None = None,
    reliability: float = 0.95,
) -> ClosedLoop:
    """A loop for the model in a file and what a codec offers; nothing is opened yet.

    Where the file holds several models, ``metric`` (default: psnr) and ``channel`` choose, and the codec's name.
    """
    model = chosen_model(path, metric, codec, channel)
    parse_address(address, bind=False)
    choices = choices_of_model(model, wanted, ratios_of(codec, model))
    return ClosedLoop(Controller(choices, ControllerSettings(reliability=reliability)), address, security)


def chosen_model(path: str | Path, metric: str | None, codec: Codec, channel: str | None) -> FittedModel:
    """The model of a file that holds one, or several: then that of the metric (default: psnr), of the codec, over the channel."""
    models = load_models(path)
    if len(models) == 1 and metric in (None, models[0].metric):
        return models[0]
    metrics = {model.metric for model in models}
    metric = metric or (next(iter(metrics)) if len(metrics) == 1 else "psnr")
    codecs = {model.provenance.get("codec") for model in models if model.metric == metric}
    return only_model(models, path, metric=metric, codec=codec.name if codec.name in codecs else None, channel=channel)


class ClosedLoop:
    """Chooses for each frame from the reports on those before.

    Call :meth:`choose` before a frame is made and :meth:`sent` when it goes out, in the same order; reports come in by a thread of
    its own, once :meth:`start` has opened the link. Frames are reported in the order in which they were sent: one of which no
    report comes, though of a later one, counts as lost, unless it was on its way when the receiver's decoder dropped frames, or
    messages were missed. Without reports the safest choice is taken, and that is said once.

    Args:
        controller: what decides.
        address: where the receiver publishes its metrics.
        security: keys of that link.
    """

    def __init__(self, controller: Controller, address: str, security: Security | None = None) -> None:
        self.controller = controller
        self.reports = 0
        self.problem: Exception | None = None
        self._address, self._security = address, security
        self._lock = threading.Lock()
        self._forecasts: deque[float | None] = deque(maxlen=REMEMBERED)  # of frames chosen for, not yet sent
        # of each frame on its way: its number, when it was sent, what was forecast
        self._sent: OrderedDict[Key, tuple[int, float, float | None]] = OrderedDict()
        self._count = 0  # frames sent
        self._certain_from = 0  # number of the first of which only the link can be why no report comes
        self._heard_s = -math.inf
        self._unheard: tuple[object, object] = (0, 0)  # messages missed, frames that the decoder dropped
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._subscriber: MetricsSubscriber | None = None

    def start(self) -> None:
        """Open the link and listen; raises LinkError for an address that cannot be used."""
        self._subscriber = MetricsSubscriber(self._address, self._security)
        self._thread = threading.Thread(target=self._listen, name="feedback", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._subscriber is not None
        while not self._stopping.is_set():
            try:
                received = self._subscriber.receive(0.2)
                if received is not None:
                    self.problem = None
                    self.take(received)
            except Exception as error:  # this thread must not end before the transmitter does
                if self.problem is None:
                    logger.warning("no feedback: %s; the safest ratio is sent", error)
                self.problem = error
                self._stopping.wait(1.0)
        self._subscriber.close()

    def take(self, received: Received, now_s: float | None = None) -> None:
        """Take one message of the receiver: a report, if it is of a frame that was sent from here."""
        now_s = time.monotonic() if now_s is None else now_s
        snr_db = received.message.get("snr_est_db")
        if received.kind != "frame" or isinstance(snr_db, bool) or not isinstance(snr_db, int | float):
            return
        try:
            key = key_of(FrameHeader.from_dict(received.message["header"]))
        except (DjsccError, KeyError, TypeError, ValueError):
            return
        missed = 0 if self._subscriber is None else self._subscriber.missed
        with self._lock:
            if key not in self._sent:
                return
            self._count_lost(key, (missed, received.message.get("frames_dropped")), now_s)
            _, sent_s, forecast = self._sent.pop(key)
            self.reports += 1
            self.controller.report(float(snr_db), sent_s, now_s, forecast)

    def _count_lost(self, key: Key, unheard: tuple[object, object], now_s: float) -> None:
        """Forget the frames before this one, which were never reported; where the link must have lost them, tell the controller."""
        if unheard != self._unheard or now_s - self._heard_s > self.controller.settings.timeout_s:
            self._certain_from = self._count
        self._unheard, self._heard_s = unheard, now_s
        for other in list(itertools.takewhile(lambda other: other != key, self._sent)):
            number, sent_s, forecast = self._sent.pop(other)
            if number >= self._certain_from:
                self.controller.lost(sent_s, forecast)

    def choose(self, now_s: float | None = None) -> Choice:
        """The choice for the next frame."""
        with self._lock:
            choice = self.controller.choose(time.monotonic() if now_s is None else now_s)
            self._forecasts.append(self.controller.forecast)
            return choice

    def sent(self, header: FrameHeader, now_s: float | None = None) -> None:
        """A frame goes out now: reports on it are told from those on others by its ids."""
        with self._lock:
            forecast = self._forecasts.popleft() if self._forecasts else None
            now_s = time.monotonic() if now_s is None else now_s
            self._sent[key_of(header)] = self._count, now_s, forecast
            self._count += 1
            while len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)
