# SPDX-License-Identifier: GPL-3.0-or-later
"""The run log of a link whose originals stay at the transmitter: what a receiver publishes, joined with what was sent.

Frames are joined by scene id, frame number and first tile. The result is a run folder as any other. What came twice is counted
and left out; a frame that was sent and never came is logged as lost; what was sent before this logger was connected is neither. A
logger that goes on with a run begins so anew: what was sent in the pause, or missed by one that was killed, is neither too.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from djscc.campaign.reception import FrameSink
from djscc.campaign.runlog import RunLog
from djscc.campaign.sender import scene_id
from djscc.campaign.transmit_log import Key, SentLog, key_of
from djscc.errors import DjsccError
from djscc.imagery import TileSet
from djscc.links import Received
from djscc.quality import METRICS
from djscc.tasks import summarise
from djscc.waveform import FrameHeader

if TYPE_CHECKING:
    from djscc.tasks import Task

FIELD = re.compile(r"[a-z][a-z0-9_]{0,40}\Z")
FIELDS = 64  # of a record or a tile, at most
TEXT = 300  # characters of a string
OWN = {"kind", "session", "sequence", "header", "constellation", "tiles", "time", "point"}
TEXTS = {"codec", "decoder_id", "channel", "refused", "name", "decision", "original", "label"}  # all else are numbers
GRACE_S = 5.0  # a frame may be on its way for so long before it counts as lost


class JoinedLog:
    """Joins messages of a receiver with the originals, and logs them.

    Args:
        log: the run folder.
        sent: the transmitter's log, which knows what was sent and when, and the originals.
        scenes: originals, where there is no transmitter's log.
        pictures: how many tiles of a scene to keep as PNG.
        metrics: which metrics to take.
        tasks: what judges the received tiles beside them; without, what the receiver's own tasks say is kept.
    """

    def __init__(
        self,
        log: RunLog,
        sent: SentLog | None = None,
        scenes: Sequence[TileSet] = (),
        pictures: int = 64,
        metrics: Sequence[str] = METRICS,
        tasks: Sequence[Task] = (),
    ) -> None:
        self.log, self._sent = log, sent
        self._scenes = {scene_id(tiles.images): tiles for tiles in scenes}
        self._sink = FrameSink(log=log, pictures=pictures, metrics=metrics, keep=1, tasks=tasks)
        self._sink.find_originals = self._originals
        self.counts = {
            "frames": 0,
            "lost": 0,
            "duplicates": 0,
            "without_originals": 0,
            "without_tiles": 0,
            "damaged": 0,
        }
        self._taken: Counter[Key] = Counter()  # frames that are in the log, received or lost
        self._logged_before: Counter[Key] = Counter()  # those of them that an earlier logger put there
        self._last: dict[str, int] = {}  # sequence number of the last message of each session
        self._codecs: dict[str, str] = {}  # names by id, as receivers told them
        self._noted: set[str] = set()  # sessions whose settings are kept
        self._since: datetime | None = None
        if log.frames.exists():
            self._resume()

    def _resume(self) -> None:
        for record in self.log.records():
            try:
                key = (int(record["scene_id"], 16), int(record["frame_number"]), int(record["tiles"][0]["index"]))
            except (KeyError, TypeError, ValueError, IndexError):
                continue
            self._taken[key] += 1
            self._name_codec(record)
            if isinstance(record.get("session"), str):
                self._last[record["session"]] = max(record["sequence"], self._last.get(record["session"], -1))
        self._logged_before = self._taken.copy()

    def connected(self) -> None:
        """The receiver can be heard from now on: what is sent after this and never comes is lost."""
        if self._since is None:
            self._since = datetime.now(UTC)

    def accept(self, received: Received) -> dict[str, Any] | None:
        """Take one message; returns the record that was logged, or None for one that adds nothing."""
        message = received.message
        session, sequence = message.get("session"), message.get("sequence")
        if not (isinstance(session, str) and FIELD.match("s" + session) and type(sequence) is int):
            self.counts["damaged"] += 1
            return None
        if sequence <= self._last.get(session, -1):
            self.counts["duplicates"] += 1
            return None
        if received.kind == "run" and session not in self._noted:
            self._note(session, message.get("settings"))
        self._last[session] = sequence
        self.connected()
        return self._frame(received, session, sequence) if received.kind == "frame" else None

    def _frame(self, received: Received, session: str, sequence: int) -> dict[str, Any] | None:
        try:
            header = FrameHeader.from_dict(received.message["header"])
        except (DjsccError, KeyError, TypeError, ValueError):
            self.counts["damaged"] += 1
            return None
        key = key_of(header)
        if self._sent is not None:
            self._sent.refresh()
            if 0 < self._sent.sent[key] <= self._taken[key]:
                self.counts["duplicates"] += 1
                return None
        record = _plain(received.message) | self._sink.identity(header) | {"received": True}
        record |= {"session": session, "sequence": sequence}
        said = received.message.get("tiles")
        entries = said if isinstance(said, list) and len(said) == header.tile_count else [{}] * header.tile_count
        entries = [_plain(entry) if isinstance(entry, dict) else {} for entry in entries]
        tiles = received.tiles()
        if tiles is not None and "refused" not in record:
            erased = [_share(entry.get("erased")) for entry in entries]
            scored = self._sink.score(header, tiles, erased)
        else:
            scored = self._sink.names(header)
            self.counts["without_tiles"] += "refused" not in record
        record["tiles"] = [entry | own for entry, own in zip(entries, scored, strict=True)]
        if results := summarise(record["tiles"]):
            record["tasks"] = results
        self._name_codec(record)
        self.counts["without_originals"] += self._originals(header.scene_id) is None
        self.log.append(record)
        self._taken[key] += 1
        self.counts["frames"] += 1
        return record

    def close(self, grace_s: float = GRACE_S) -> None:
        """Log what was lost, and write what is not yet on disk."""
        self._sink.close()
        if self._sent is None or self._since is None:
            return
        before = datetime.now(UTC) - timedelta(seconds=grace_s)
        seen: Counter[Key] = Counter()
        lost = []
        # Of equal frames (the same scene sent again after a restart) the last ones sent are taken for those that came: that
        # cannot be known, and does not matter to the counts.
        for time, header in self._sent.frames():
            if self._since <= time <= before:
                key = key_of(header)
                seen[key] += 1
                if seen[key] > self._taken[key] - self._logged_before[key]:
                    lost.append(header)
        for header in lost:
            name = self._codecs.get(f"{header.codec_id:08x}")
            self._sink.point = (
                {} if name is None else {"codec": name}
            )  # so that it is of one series with those that came
            self._sink.lost(header)
            self._taken[key_of(header)] += 1
        self.counts["lost"] += len(lost)

    def _name_codec(self, record: Mapping[str, Any]) -> None:
        name, codec = record.get("codec"), record.get("codec_id")
        if isinstance(name, str) and isinstance(codec, str) and len(self._codecs) < 100:
            self._codecs[codec] = name

    def _originals(self, scene: int) -> TileSet | None:
        if scene in self._scenes:
            return self._scenes[scene]
        return None if self._sent is None else self._sent.originals(scene)

    def _note(self, session: str, settings: object) -> None:
        """Keep what a receiver says of its settings beside the log."""
        if isinstance(settings, dict) and len(self._noted) < 1000:
            self._noted.add(session)
            with (self.log.folder / "receivers.jsonl").open("a") as file:
                file.write(json.dumps({"session": session, "settings": settings}) + "\n")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and short strings of a received mapping; all else, and what has another meaning here, is left out."""
    kept: dict[str, Any] = {}
    for key, value in list(values.items())[: 4 * FIELDS]:
        if key in OWN or not FIELD.match(key) or len(kept) >= FIELDS:
            continue
        if key == "tasks":  # of a tile: each task's decision and loss
            of_tasks = value if isinstance(value, dict) else {}
            entries = {name: _plain(entry) for name, entry in list(of_tasks.items())[:8] if isinstance(entry, dict)}
            kept[key] = {name[:TEXT]: entry for name, entry in entries.items() if "tasks" not in entry}
        elif key == "layers" and isinstance(value, list):
            kept[key] = [entry for entry in value[:1024] if type(entry) is int]
        elif isinstance(value, str):
            kept |= {key: value[:TEXT]} if key in TEXTS else {}
        elif value is None or isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value)):
            kept[key] = value
    return kept


def _share(value: object) -> float:
    return min(1.0, max(0.0, float(value))) if isinstance(value, int | float) else 0.0
