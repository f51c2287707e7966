# SPDX-License-Identifier: GPL-3.0-or-later
"""GNU Radio blocks that send and receive images by deep joint source-channel coding.

The work is done by the library ``djscc``, which must be importable beside this module (the two share the name: blocks are
``from gnuradio import djscc``, the library is ``import djscc``).
"""

import contextlib

from .channel import channel
from .decoder_sink import decoder_sink
from .encoder_source import encoder_source
from .estimate_history import estimate_history
from .flowgraph import FlowgraphStalledError, run_to_end
from .frame_modulator import frame_modulator
from .frame_receiver import frame_receiver
from .front_end import require_given
from .loopback import loopback
from .metrics_publisher import metrics_publisher
from .radio_bench import radio_bench
from .radio_link import radio_receiver, radio_sink, radio_source, radio_transmitter
from .recording_source import recording_source

with contextlib.suppress(ImportError):  # without PyQt5 there is no window to put it into
    from .image_view import image_view

__all__ = [
    "FlowgraphStalledError",
    "channel",
    "decoder_sink",
    "encoder_source",
    "estimate_history",
    "frame_modulator",
    "frame_receiver",
    "image_view",
    "loopback",
    "metrics_publisher",
    "radio_bench",
    "radio_receiver",
    "radio_sink",
    "radio_source",
    "radio_transmitter",
    "recording_source",
    "require_given",
    "run_to_end",
]
