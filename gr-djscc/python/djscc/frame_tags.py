# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames in a stream: a tag on the first symbol tells of the frame, a tag on the last item of all tells the end.

``djscc_frame``  on a frame's first symbol: a dict with ``header`` (FrameHeader.to_dict) and, after the receiver, ``report``
                 (FrameReport.to_dict).
``djscc_end``    on the last item that a source will ever send: each block after it flushes what it holds. The scheduler tells a
                 block nothing of this: a block whose input has ended is not called again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pmt

from djscc.waveform import FrameHeader, FrameReport

FRAME = pmt.intern("djscc_frame")
END = pmt.intern("djscc_end")


def frame_tag(header: FrameHeader, report: FrameReport | None = None) -> Any:
    """The value of a frame's tag."""
    value: dict[str, Any] = {"header": header.to_dict()}
    if report is not None:
        value["report"] = report.to_dict()
    return to_pmt(value)


def read_header(value: Any) -> FrameHeader:
    """The header in a frame's tag."""
    return FrameHeader.from_dict(pmt.to_python(value)["header"])


def read_report(value: Any) -> FrameReport:
    """The receiver's report in a frame's tag."""
    report = pmt.to_python(value).get("report")
    if report is None:
        raise ValueError("the frame's tag holds no report: only a frame receiver's output can be decoded")
    return FrameReport(**report)


def to_pmt(value: Any) -> Any:
    """A PMT of plain values and numpy scalars, which ``pmt.to_pmt`` refuses."""
    return pmt.to_pmt(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value
