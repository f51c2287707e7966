# SPDX-License-Identifier: GPL-3.0-or-later
"""Message block: publishes metrics as JSON over ZeroMQ, for dashboards and scripts outside of GNU Radio."""

from __future__ import annotations

import json
from typing import Any

import pmt
import zmq
from gnuradio import gr

from .guard import guarded

IN = pmt.intern("in")


class metrics_publisher(gr.basic_block):
    """Publishes each message on a ZeroMQ PUB socket as two parts: the topic, and a JSON object (UTF-8).

    Takes the PDUs of decoder_sink's port ``metrics``, whose bytes are JSON already, and dicts, such as frame_receiver's port
    ``info`` gives. A subscriber that comes late or is slow misses messages; the flowgraph never waits for it.

    Args:
        address: where to bind. The default is reached from this machine alone; ``tcp://*:5557`` opens it to the network.
        topic: first part of each message.
    """

    def __init__(self, address: str = "tcp://127.0.0.1:5557", topic: str = "djscc") -> None:
        gr.basic_block.__init__(self, "metrics_publisher", None, None)
        self.error: Exception | None = None
        self._topic = topic.encode()
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 500)  # ms
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._socket.close()
            raise ValueError(
                f"metrics address {address}: {error}; choose another, such as tcp://127.0.0.1:5558"
            ) from error
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.message_port_register_in(IN)
        self.set_msg_handler(IN, self.publish)

    @guarded
    def publish(self, message: Any) -> None:
        """Send one message."""
        if pmt.is_pair(message) and pmt.is_u8vector(pmt.cdr(message)):
            text = bytes(pmt.u8vector_elements(pmt.cdr(message)))
        else:
            text = json.dumps(pmt.to_python(message), default=str).encode()
        self._socket.send_multipart([self._topic, text])

    def stop(self) -> bool:
        """Send what still waits: the scheduler ends this block when the one before it has ended, not when all is handled."""
        while (message := self.delete_head_nowait(IN)) is not None:
            self.publish(message)
        return True
