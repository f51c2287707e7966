# SPDX-License-Identifier: GPL-3.0-or-later
"""Message block: the receiver's estimates over the last frames, as vectors for a QT Time Sink."""

from __future__ import annotations

from collections import deque
from typing import Any

import pmt
from gnuradio import gr

from .guard import guarded

IN = pmt.intern("in")
SNR, CFO = "snr_est_db", "cfo_hz"
PORTS = {SNR: pmt.intern("snr_db"), CFO: pmt.intern("cfo_hz")}


class estimate_history(gr.basic_block):
    """Sends, for each frame, its Es/N0 and carrier offset with those of the frames before it, the newest last.

    Takes what decoder_sink sends on its port ``metrics``. Ports ``snr_db`` and ``cfo_hz`` send PDUs of ``frames`` floats; until so
    many have come, the first stands for those before it.

    Args:
        frames: how many to show.
    """

    def __init__(self, frames: int = 200) -> None:
        if frames < 2:
            raise ValueError(f"a history of {frames} frames: give 2 or more")
        gr.basic_block.__init__(self, "estimate_history", None, None)
        self.error: Exception | None = None
        self._frames = frames
        self._values: dict[str, deque[float]] = {}
        self.message_port_register_in(IN)
        self.set_msg_handler(IN, self.add)
        for port in PORTS.values():
            self.message_port_register_out(port)

    @guarded
    def add(self, message: Any) -> None:
        """Take one frame's estimates."""
        about = pmt.to_python(pmt.car(message) if pmt.is_pair(message) and not pmt.is_dict(message) else message)
        for key, port in PORTS.items():
            value = about.get(key)
            if value is None:
                continue
            values = self._values.setdefault(key, deque([float(value)] * self._frames, self._frames))
            values.append(float(value))
            self.message_port_pub(port, pmt.cons(pmt.PMT_NIL, pmt.init_f32vector(len(values), list(values))))
