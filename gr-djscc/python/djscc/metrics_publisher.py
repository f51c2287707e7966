# SPDX-License-Identifier: GPL-3.0-or-later
"""Message block: publishes metrics as JSON over ZeroMQ, for dashboards and scripts outside of GNU Radio."""

from __future__ import annotations

import json
from typing import Any

import pmt
from gnuradio import gr

from djscc.links import MetricsPublisher, Security

from .guard import guarded

IN = pmt.intern("in")


class metrics_publisher(gr.basic_block):
    """Publishes each message on a ZeroMQ PUB socket as ``djscc.links.MetricsPublisher`` does: the topic, and a JSON object (UTF-8).

    Takes the PDUs of decoder_sink's port ``metrics``, whose bytes are JSON already, and dicts, such as frame_receiver's port
    ``info`` gives. A subscriber that comes late or is slow misses messages; the flowgraph never waits for it.

    Args:
        address: where to bind. The default is reached from this machine alone; ``tcp://*:5557`` opens it to the network, which
            needs keys.
        topic: first part of each message.
        keys: folder of CURVE keys, as ``djscc keys`` makes it.
        insecure: open it to the network without keys.
    """

    def __init__(
        self, address: str = "tcp://127.0.0.1:5557", topic: str = "djscc", keys: str = "", insecure: bool = False
    ) -> None:
        gr.basic_block.__init__(self, "metrics_publisher", None, None)
        self.error: Exception | None = None
        self._publisher = MetricsPublisher(address, Security(keys or None, insecure), topic)
        self.address = self._publisher.endpoint
        self.message_port_register_in(IN)
        self.set_msg_handler(IN, self.publish)

    @guarded
    def publish(self, message: Any) -> None:
        """Send one message."""
        if pmt.is_pair(message) and pmt.is_u8vector(pmt.cdr(message)):
            about = json.loads(bytes(pmt.u8vector_elements(pmt.cdr(message))))
        else:
            about = pmt.to_python(message)
        if not isinstance(about, dict):
            raise ValueError(f"a message of {type(about).__name__} cannot be published: give a dict, or a PDU of JSON")
        self._publisher.publish({"kind": "frame" if "frame_number" in about else "info"} | about)

    def stop(self) -> bool:
        """Send what still waits: the scheduler ends this block when the one before it has ended, not when all is handled."""
        while (message := self.delete_head_nowait(IN)) is not None:
            self.publish(message)
        return True
