# SPDX-License-Identifier: GPL-3.0-or-later
"""Where samples go to and come from: radios, recordings, sockets and pipes, behind one way to name and set them.

What needs no GNU Radio is here: files, SigMF recordings, ZeroMQ, standard input and output. Radios are driven by GNU Radio's own
blocks, in the module ``gnuradio.djscc``, with the settings and the events of this package.
"""

from djscc.radio.endpoint import HARDWARE, KINDS, Endpoint, parse_endpoint
from djscc.radio.errors import StreamError
from djscc.radio.events import RadioEvents
from djscc.radio.settings import RadioSettings, load_radio_settings

__all__ = [
    "HARDWARE",
    "KINDS",
    "Endpoint",
    "RadioEvents",
    "RadioSettings",
    "StreamError",
    "load_radio_settings",
    "parse_endpoint",
]
