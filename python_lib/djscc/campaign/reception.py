# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a received frame: decoded tiles, their metrics where the originals are known, a line in the run log."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from djscc.cache import BoundedCache
from djscc.campaign.collected import Collected
from djscc.campaign.runlog import RunLog, folder_of_frame, now
from djscc.campaign.scenes import Scenes
from djscc.campaign.sender import scene_id
from djscc.codec import Codec, CodecError, load_codec_by_id
from djscc.imagery import TileSet
from djscc.quality import METRICS, Originals, measure
from djscc.quality.no_reference import estimate
from djscc.tasks import summarise
from djscc.timing import in_network
from djscc.waveform import FrameHeader, FrameReport, Modulator, ReceivedFrame, WaveformSettings
from djscc.waveform.format import TEST_CODEC_ID

if TYPE_CHECKING:
    from djscc.tasks import Task

MAXIMUM_TILE_PIXELS = 1 << 20  # a header may claim any size: refuse what would fill the memory
SAVE_EVERY_S = 2.0  # between writes of an image whose tiles are still coming
FOLDERS = 8  # of tile pictures, whose erased shares are remembered
MISSING = 128  # grey level of what did not arrive
_originals: BoundedCache[Originals] = BoundedCache(256 << 20, lambda kept: 30 * kept.images.nbytes)

Observer = Callable[[ReceivedFrame, Mapping[str, Any], "NDArray[np.uint8] | None"], None]


class FrameSink:
    """Decode frames, measure and log them.

    Codecs are found by the id in each header. Nothing here knows what was sent; ``references`` are there to score what came
    out, and are matched to it by the scene id.

    Args:
        codecs: codecs that are loaded already; others are looked up by id (with decoder ``decoder``).
        references: the original tiles, if they are at hand.
        log: where to write records and pictures, if anywhere.
        point: what the record says beside what the receiver knows (point, channel, snr_db ...).
        pictures: how many tiles of a scene to keep as PNG.
        metrics: which metrics to take.
        settings: the waveform, for the on-air ratio.
        decoder: which decoder of codecs that are looked up; None for their first.
        keep: how many records to hold in ``records``, the latest; None holds all.
        reference_id: scene id of the references, where it is known already.
        tasks: what judges the received tiles beside the metrics.
    """

    def __init__(
        self,
        codecs: Sequence[Codec] = (),
        references: TileSet | None = None,
        log: RunLog | Collected | None = None,
        point: Mapping[str, Any] | None = None,
        pictures: int = 64,
        metrics: Sequence[str] = METRICS,
        settings: WaveformSettings | None = None,
        decoder: str | None = None,
        keep: int | None = None,
        reference_id: int | None = None,
        tasks: Sequence[Task] = (),
    ) -> None:
        self.codecs = {c.id: c for c in codecs}
        self.references, self.log, self.pictures, self.metrics = references, log, pictures, tuple(metrics)
        self.reference_id = (
            scene_id(references.images) if references is not None and reference_id is None else reference_id
        )
        self.find_originals: Callable[[int], TileSet | None] = self._of_references  # the tiles of a scene id
        self.point = dict(point or {})
        self.tasks = tuple(tasks)
        self.decoder = decoder
        self.folder_a_frame = False  # pictures in a folder for each frame, where tiles come again and again
        self.modulator = Modulator(settings or WaveformSettings())
        self.number_of: Callable[[FrameHeader], int] = lambda header: header.frame_number  # beyond 2^16, where it wraps
        self.truth: Callable[[FrameReport], Mapping[str, Any]] = lambda report: {}  # what a simulation knows of a frame
        self.latest: NDArray[np.uint8] | None = None  # (N, H, W, C) tiles of the last frame
        self.scenes = Scenes()
        self._unsaved: dict[str, NDArray[np.uint8]] = {}
        self._save_at = -math.inf
        self._least_erased: OrderedDict[str, dict[int, float]] = OrderedDict()  # of a folder's tile pictures, by index
        self.records: deque[dict[str, Any]] = deque(maxlen=keep)
        self.observers: list[Observer] = []  # called with each frame, its record and its tiles, once it is logged

    def accept(self, frame: ReceivedFrame) -> dict[str, Any]:
        """Take one frame; returns its record, which was logged. A frame that cannot be decoded is logged as refused."""
        header, report = frame.header, frame.report
        known = frame.received & np.isfinite(frame.symbols)
        record: dict[str, Any] = {
            **self.identity(header),
            "time_s": float(f"{report.time_s:.9g}"),
            "snr_est_db": finite(report.snr_db),
            "cfo_hz": finite(report.cfo_hz),
            "timing": finite(report.timing),
            "clock_ppm": finite(report.clock_ppm),
            "gain_db": finite(report.gain_db),
            "lost_samples": int(report.lost_samples),
            "overruns": int(report.overruns),
            "erased": float(1 - known.mean()) if known.size else 1.0,
            "received": True,
            **self.truth(report),
        }
        tiles: NDArray[np.uint8] | None
        try:
            codec = self._codec(header)
            record |= {"codec": codec.name, "decoder_id": codec.decoder_id}
            tiles = self._decode(codec, frame, known)
        except CodecError as error:
            record |= {"refused": str(error), "tiles": self.names(header)}
            tiles = None
        else:
            self.latest = tiles
            record["layers"] = header.layers[0] if len(set(header.layers)) == 1 else list(header.layers)
            record["tiles"] = self._measured(header, tiles, known)
            for name, values in estimate(codec, tiles, header.layers, frame.noise_variance, known).items():
                for entry, value in zip(record["tiles"], values, strict=True):
                    if entry["erased"] < 1:
                        entry[name] = finite(float(f"{value:.4g}"))
            if self.tasks:
                record["tasks"] = summarise(record["tiles"])
        self.records.append(record)
        if self.log is not None:
            self.log.append(record)
        for observer in self.observers:
            observer(frame, record, tiles)
        return record

    def lost(self, header: FrameHeader) -> dict[str, Any]:
        """Log a frame that was sent and never came (only who knows what was sent can tell)."""
        record = {**self.identity(header), "received": False, "tiles": self.names(header)}
        self.records.append(record)
        if self.log is not None:
            self.log.append(record)
        return record

    def close(self) -> None:
        """Write what is not yet on disk; call it when no more frames come."""
        for folder, image in self._unsaved.items():
            assert self.log is not None
            self.log.save_picture(image, "received", folder)
        self._unsaved.clear()

    def _save_scene(self, folder: str, image: NDArray[np.uint8], whole: bool) -> None:
        """Write an image when its last tile came, and now and then before: an encode a frame would take longer than decoding."""
        if folder not in self._unsaved:
            self.close()
        self._unsaved[folder] = image
        if whole or time.monotonic() >= self._save_at:
            started = time.monotonic()
            self.close()
            took = time.monotonic() - started
            self._save_at = started + max(SAVE_EVERY_S, 10 * took)  # large images take seconds

    def identity(self, header: FrameHeader) -> dict[str, Any]:
        """What a frame's record begins with. ``ratio`` is the point's where that is known; by content a little less is spent."""
        samples = header.tile_count * header.tile_height * header.tile_width * header.bands
        spent = header.payload_symbols / samples
        ratio = self.point.get("ratio", spent)
        return {
            "time": now(),
            "point": None,
            **self.point,
            "codec_id": f"{header.codec_id:08x}",
            "scene_id": f"{header.scene_id:08x}",
            "frame_number": self.number_of(header),
            "ratio": ratio,
            **({} if ratio == spent else {"spent_ratio": spent}),
            "on_air_ratio": self.modulator.on_air_symbols(header) / samples,
        }

    def _codec(self, header: FrameHeader) -> Codec:
        if header.codec_id == TEST_CODEC_ID:
            raise CodecError("a test frame of `djscc transmit --prbs`, which holds no image; receive it with --prbs")
        if header.codec_id not in self.codecs:
            self.codecs[header.codec_id] = load_codec_by_id(header.codec_id, self.decoder)
        codec = self.codecs[header.codec_id]
        if header.tile_height * header.tile_width > MAXIMUM_TILE_PIXELS:
            raise CodecError(
                f"tiles of {header.tile_height} x {header.tile_width} are above {MAXIMUM_TILE_PIXELS} pixels"
            )
        if codec.fixed and min(header.layers) < codec.layers:
            raise CodecError(
                f"codec {codec.name} decodes {codec.layers} layers only, the frame has {min(header.layers)}"
            )
        per_layer = codec.symbols_per_layer(header.tile_height, header.tile_width)
        if (header.bands, header.symbols_per_layer) != (codec.bands, per_layer) or max(header.layers) > codec.layers:
            raise CodecError(
                f"the header's {header.bands} bands, {header.symbols_per_layer} symbols a layer and {max(header.layers)} layers "
                f"do not fit codec {codec.name} ({codec.bands}, {per_layer}, at most {codec.layers}) at "
                f"{header.tile_height} x {header.tile_width}"
            )
        return codec

    def _decode(self, codec: Codec, frame: ReceivedFrame, known: NDArray[np.bool_]) -> NDArray[np.uint8]:
        header = frame.header
        layers = np.array(header.layers)
        starts = np.concatenate([[0], np.cumsum(layers)[:-1]]) * header.symbols_per_layer
        shape = (header.tile_count, header.tile_height, header.tile_width, header.bands)
        tiles = np.full(shape, MISSING, dtype=np.uint8)
        for count in np.unique(layers):
            chosen = np.flatnonzero(layers == count)
            index = starts[chosen, None] + np.arange(count * header.symbols_per_layer)
            arrived = known[index].any(axis=1)
            index, chosen = index[arrived], chosen[arrived]
            if len(chosen):
                with in_network():
                    tiles[chosen] = codec.decode(
                        frame.symbols[index],
                        frame.noise_variance[index],
                        known[index],
                        header.tile_height,
                        header.tile_width,
                    )
        return tiles

    def names(self, header: FrameHeader) -> list[dict[str, Any]]:
        """An entry for each tile of a frame, with its name and label where the original is at hand."""
        originals = self._originals(header)
        entries = []
        for i in range(header.tile_index, header.tile_index + header.tile_count):
            entry: dict[str, Any] = {"index": i}
            if originals is not None:
                entry["name"] = originals.names[i]
                if originals.labels is not None:
                    entry["label"] = int(originals.labels[i])
            entries.append(entry)
        return entries

    def _of_references(self, scene: int) -> TileSet | None:
        return self.references if scene == self.reference_id else None

    def _originals(self, header: FrameHeader) -> TileSet | None:
        """The scene that a frame is of, if its originals are at hand and of the header's shape."""
        found = self.find_originals(header.scene_id)
        fits = (
            found is not None
            and header.tile_index + header.tile_count <= len(found)
            and found.images.shape[1:] == (header.tile_height, header.tile_width, header.bands)
        )
        return found if fits else None

    def _measured(
        self, header: FrameHeader, tiles: NDArray[np.uint8], known: NDArray[np.bool_]
    ) -> list[dict[str, Any]]:
        ends = np.cumsum(header.layers) * header.symbols_per_layer
        starts = np.concatenate([[0], ends[:-1]])
        erased = [round(float(1 - known[start:end].mean()), 4) for start, end in zip(starts, ends, strict=True)]
        return self.score(header, tiles, erased)

    def score(self, header: FrameHeader, tiles: NDArray[np.uint8], erased: Sequence[float]) -> list[dict[str, Any]]:
        """The entries of a frame's decoded tiles, measured where the originals are at hand; their pictures go to the log.

        ``erased`` is the share of each tile's symbols that did not arrive.
        """
        entries = self.names(header)
        for entry, share in zip(entries, erased, strict=True):
            entry["erased"] = share
        originals = self._originals(header)
        if originals is not None:
            first, end = header.tile_index, header.tile_index + header.tile_count
            part = _originals.get((header.scene_id, first, end), lambda: Originals(originals.images[first:end]))
            for name, values in measure(part, tiles, self.metrics).items():
                for entry, value in zip(entries, values, strict=True):
                    entry[name] = float(f"{value:.6g}")
        self._judge(header, tiles, originals, entries)
        if self.log is not None:
            folder = self.point.get("point") or f"scene-{header.scene_id:08x}"
            if self.folder_a_frame:
                folder = folder_of_frame(folder, self.number_of(header))
            arrived = np.array([entry["erased"] < 1 for entry in entries])
            image = self.scenes.add(header, tiles, arrived, self.log.picture_path("received", folder))
            if image is not None:
                whole = header.tile_index + header.tile_count == header.tiles_total
                self._save_scene(folder, image, whole)
            else:
                self._save_tiles(folder, entries, tiles)
        return entries

    def _save_tiles(self, folder: str, entries: Sequence[Mapping[str, Any]], tiles: NDArray[np.uint8]) -> None:
        """Write tiles that make no image one by one; where a tile comes again, what holds more of it stays."""
        assert self.log is not None
        least = self._least_erased.setdefault(folder, {})
        self._least_erased.move_to_end(folder)
        while len(self._least_erased) > FOLDERS:
            self._least_erased.popitem(last=False)
        for entry, tile in zip(entries, tiles, strict=True):
            index, erased = entry["index"], entry["erased"]
            if index < self.pictures and erased <= least.get(index, 1.0):
                self.log.save_picture(tile, "received", folder, f"{index:05d}")
                least[index] = erased

    def _judge(
        self, header: FrameHeader, tiles: NDArray[np.uint8], originals: TileSet | None, entries: list[dict[str, Any]]
    ) -> None:
        """Add ``tasks`` to the entries: what each task makes of each tile."""
        first, end = header.tile_index, header.tile_index + header.tile_count
        for task in self.tasks:
            reference = None
            if originals is not None:
                reference = task.reference((header.scene_id, first, end), partial(_part, originals, first, end))
            for entry, judged in zip(entries, task.measure(tiles, reference), strict=True):
                entry.setdefault("tasks", {})[task.name] = judged


def _part(tiles: TileSet, first: int, end: int) -> TileSet:
    labels = None if tiles.labels is None else tiles.labels[first:end]
    return TileSet(tiles.images[first:end], tiles.names[first:end], labels, tiles.classes)


def save_originals(log: RunLog, tiles: TileSet, pictures: int) -> None:
    """Write the first ``pictures`` originals beside what was received, for the report."""
    for index, tile in enumerate(tiles.images[:pictures]):
        log.save_picture(tile, "sent", f"{index:05d}")


def finite(value: float | None) -> float | None:
    """A number for JSON: None for what is not finite."""
    return None if value is None or not np.isfinite(value) else float(f"{float(value):.6g}")
