# SPDX-License-Identifier: GPL-3.0-or-later
"""What a part of a campaign brings, kept in memory until it is written: a worker elsewhere has no run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.campaign.runlog import RunLog


@dataclass
class Collected:
    """Stands where a RunLog may stand for a FrameSink; :meth:`write` brings it all into a real one, pictures first."""

    records: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[tuple[str, ...], NDArray[np.uint8]] = field(default_factory=dict)

    def append(self, record: Mapping[str, Any]) -> None:
        self.records.append(dict(record))

    def picture_path(self, *parts: str) -> Path | None:
        return None

    def save_picture(self, image: NDArray[np.uint8], *parts: str) -> None:
        self.pictures[parts] = image

    def write(self, log: RunLog) -> None:
        for parts, image in self.pictures.items():
            log.save_picture(image, *parts)
        log.append_all(self.records)
