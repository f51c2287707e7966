# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole chain in one flowgraph, without a radio: what ``djscc loopback`` and campaigns run."""

from __future__ import annotations

from collections.abc import Iterable

from gnuradio import gr

from djscc.channels import SampleChannel
from djscc.waveform import ReceiverCounters, WaveformSettings

from .channel import channel
from .decoder_sink import FrameTaker, decoder_sink
from .encoder_source import Frame, encoder_source
from .flowgraph import run_to_end
from .frame_modulator import frame_modulator
from .frame_receiver import frame_receiver


class loopback(gr.top_block):
    """Encoder source, frame modulator, channel, frame receiver, decoder sink.

    Args:
        source: the frames to send, such as a ``djscc.campaign.sender.FrameSource``.
        sink: what takes those received, such as a ``djscc.campaign.reception.FrameSink``.
        samples: the channel between.
        settings: the waveform.
    """

    def __init__(
        self,
        source: Iterable[Frame],
        sink: FrameTaker,
        samples: SampleChannel,
        settings: WaveformSettings | None = None,
    ) -> None:
        gr.top_block.__init__(self, "djscc loopback")
        self.source = encoder_source(source)
        self.modulator = frame_modulator(settings)
        self.channel = channel(samples)
        self.receiver = frame_receiver(settings)
        self.sink = decoder_sink(sink)
        self.connect(self.source, self.modulator, self.channel, self.receiver)
        for port in (0, 1):
            self.connect((self.receiver, port), (self.sink, port))

    @property
    def counters(self) -> ReceiverCounters:
        """What the receiver has seen."""
        return self.receiver.counters

    def run_to_end(self, stall_s: float = 300.0) -> None:
        """Run until every frame is through; raises the error of a block that failed, FlowgraphStalledError if nothing moves."""
        run_to_end(self, (self.source, self.modulator, self.channel, self.receiver, self.sink), stall_s)
