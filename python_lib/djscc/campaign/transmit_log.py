# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transmitter has sent: the originals, and a line for each frame, for who joins it with what arrived.

A folder: ``sent.jsonl``, append-only, with a line for each frame (its time and header) and for each start of the transmitter;
``scenes/<scene id>.npy`` the tiles of a scene and ``.json`` their names and labels. A torn last line loses that line only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from djscc.campaign.runlog import RunError, now
from djscc.campaign.sender import scene_id
from djscc.errors import DjsccError
from djscc.imagery import TileSet
from djscc.waveform import FrameHeader

Key = tuple[int, int, int]  # scene id, frame number, first tile

OPEN_SCENES = 8  # kept in memory by a reader


def key_of(header: FrameHeader) -> Key:
    """What tells a frame from others of a transmission."""
    return header.scene_id, header.frame_number, header.tile_index


class TransmitLog:
    """Writes the log of a transmitter; a folder that holds one already is gone on with."""

    def __init__(self, folder: str | Path, settings: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.file = self.folder / "sent.jsonl"
        self._scenes: set[int] = set()
        try:
            (self.folder / "scenes").mkdir(parents=True, exist_ok=True)
            self._open = self.file.open("ab+")
            self._open.seek(max(0, self._open.tell() - 1))
            torn = self._open.read() not in (b"\n", b"")
        except OSError as error:
            raise RunError(
                f"{self.folder}: cannot be written ({error.strerror}); choose another --log folder"
            ) from error
        if torn:
            self._open.write(b"\n")
        self._append({"time": now(), "start": dict(settings or {})})

    def scene(self, tiles: TileSet) -> None:
        """Keep the originals of a scene; call it before its first frame is sent."""
        scene = scene_id(tiles.images)
        if scene in self._scenes:
            return
        self._scenes.add(scene)
        path = self.folder / "scenes" / f"{scene:08x}"
        labels = None if tiles.labels is None else tiles.labels.tolist()
        about = {"names": list(tiles.names), "labels": labels, "classes": list(tiles.classes)}
        try:
            path.with_suffix(".json").write_text(json.dumps(about))
            temporary = path.with_suffix(".tmp.npy")
            np.save(temporary, tiles.images, allow_pickle=False)
            temporary.replace(path.with_suffix(".npy"))
        except OSError as error:
            raise RunError(f"{path}.npy: cannot be written ({error.strerror}); make room") from error

    def frame(self, header: FrameHeader) -> None:
        """Add a frame that is about to be sent."""
        self._append({"time": now(), "header": header.to_dict()})

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            self._open.write(json.dumps(line, default=str, separators=(",", ":")).encode() + b"\n")
            self._open.flush()
        except OSError as error:
            raise RunError(f"{self.file}: cannot be written ({error.strerror}); what it holds is kept") from error

    def close(self) -> None:
        """Close the file."""
        self._open.close()


class SentLog:
    """Reads the log of a transmitter, also while it is being written: ``refresh`` takes what was added."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.file = self.folder / "sent.jsonl"
        if not self.folder.is_dir():
            raise RunError(f"{folder}: no such folder; give the one that `djscc transmit --log` writes")
        self.sent: Counter[Key] = Counter()
        self._read = 0
        self._scenes: dict[int, TileSet | None] = {}

    def refresh(self) -> None:
        """Count the frames that were sent since the last call."""
        for _, header, end in self._lines(self._read):
            self.sent[key_of(header)] += 1
            self._read = end

    def frames(self) -> Iterator[tuple[datetime, FrameHeader]]:
        """Every frame with the time when it was sent."""
        for time, header, _ in self._lines(0):
            yield time, header

    def _lines(self, start: int) -> Iterator[tuple[datetime, FrameHeader, int]]:
        """Whole lines from byte ``start`` on; with each frame the place after its line."""
        if not self.file.is_file():
            return
        with self.file.open("rb") as file:
            file.seek(start)
            for line in file:
                start += len(line)
                if not line.endswith(b"\n"):
                    return
                try:
                    entry = json.loads(line)
                    yield datetime.fromisoformat(entry["time"]), FrameHeader.from_dict(entry["header"]), start
                except (ValueError, KeyError, TypeError, DjsccError):
                    continue  # a torn line, or one about a start

    def originals(self, scene: int) -> TileSet | None:
        """The tiles of a scene id, if it was sent from here."""
        if self._scenes.get(scene) is None:
            while len(self._scenes) >= OPEN_SCENES:
                self._scenes.pop(next(iter(self._scenes)))
            self._scenes[scene] = self._load(self.folder / "scenes" / f"{scene:08x}")
        return self._scenes[scene]

    def _load(self, path: Path) -> TileSet | None:
        try:
            about = json.loads(path.with_suffix(".json").read_text())
            images = np.load(path.with_suffix(".npy"), allow_pickle=False)
            labels = None if about["labels"] is None else np.array(about["labels"], np.int64)
            return TileSet(images, tuple(about["names"]), labels, tuple(about["classes"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
