# SPDX-License-Identifier: GPL-3.0-or-later
"""SigMF recordings (https://sigmf.org) with a namespace of ours, written as the samples come, and read back as they came.

Global fields of the namespace ``djscc``: ``run_id``, ``symbol_rate`` (1/s), ``samples_per_symbol``, ``roll_off``, and of a
recording that was transmitted ``codec_id`` (eight hexadecimal digits); a capture has ``djscc:gain_db``. Samples that the radio lost
lie between two captures, as the jump of ``core:global_index`` says; where it is not known how many it lost, an annotation
``overrun`` spans the place, and ``djscc:noticed`` is the stream's index when it was noticed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc import __version__
from djscc.radio.errors import StreamError
from djscc.radio.settings import RadioSettings
from djscc.waveform import WaveformSettings

CHUNK = 1 << 20  # samples read at once
SAVE_S = 5.0  # between two writings of the metadata of a recording that goes on


@dataclass(frozen=True)
class Gap:
    """So many samples were lost here."""

    count: int


@dataclass(frozen=True)
class Overrun:
    """Samples were lost somewhere between these two places of the stream."""

    first: int
    last: int


@dataclass(frozen=True)
class About:
    """What a recording's metadata say of how it was made."""

    settings: WaveformSettings = field(default_factory=WaveformSettings)
    radio: RadioSettings = field(default_factory=RadioSettings)
    run_id: str | None = None
    codec_id: int | None = None
    device: str | None = None

    def global_fields(self) -> dict[str, Any]:
        """The global object."""
        fields: dict[str, Any] = {
            "core:datatype": "cf32_le",
            "core:sample_rate": self.settings.sample_rate,
            "core:recorder": f"gr-djscc {__version__}",
            "core:description": "Frames of images by deep joint source-channel coding; `djscc receive --source sigmf:NAME`",
            "core:extensions": [{"name": "djscc", "version": "1.0.0", "optional": True}],
            "djscc:symbol_rate": self.settings.symbol_rate,
            "djscc:samples_per_symbol": self.settings.samples_per_symbol,
            "djscc:roll_off": self.settings.roll_off,
            "djscc:run_id": self.run_id,
            "djscc:codec_id": None if self.codec_id is None else f"{self.codec_id:08x}",
            "core:hw": self.device,
        }
        return {key: value for key, value in fields.items() if value is not None}

    def capture_fields(self) -> dict[str, Any]:
        """What each capture says of the radio."""
        fields = {"core:frequency": self.radio.frequency, "djscc:gain_db": self.radio.gain}
        return {key: value for key, value in fields.items() if value is not None}


class Recorder:
    """Writes a recording. The metadata are on disk from the start, so that one that was cut off can be read."""

    taken = 0  # it takes all at once

    def __init__(self, name: str | Path, about: About) -> None:
        from sigmf import SigMFFile

        self._data_path, self._meta_path = paths(name)
        self._about, self._written, self._lost, self._pending = about, 0, 0, True
        self._changed, self._saved_at = False, 0.0
        self._meta = SigMFFile(global_info=about.global_fields())
        try:
            self._data_path.parent.mkdir(parents=True, exist_ok=True)
            self._data = self._data_path.open("xb")
        except FileExistsError as error:
            raise StreamError(f"{self._data_path}: is there already; choose another name") from error
        except OSError as error:
            raise self._refused(error) from error
        self._save()

    def write(self, samples: NDArray[np.complex64]) -> bool:
        """The next samples."""
        if self._pending and len(samples):
            self._capture()
        if self._changed and time.monotonic() - self._saved_at > SAVE_S:
            self._save()
        try:
            self._data.write(samples.astype("<c8").tobytes())
        except OSError as error:
            raise self._refused(error) from error
        self._written += len(samples)
        return True

    def gap(self, count: int) -> None:
        """So many samples were lost here."""
        self._lost += count
        self._pending = True

    def overrun(self, first: int, last: int) -> None:
        """Samples were lost somewhere between these two places of the stream."""
        start = min(max(first - self._lost, 0), self._written)
        about = {"core:label": "overrun", "djscc:first": first, "djscc:noticed": last}
        self._meta.add_annotation(start, max(self._written - start, 1), metadata=about)
        self._changed = True

    def close(self) -> None:
        """No more samples come."""
        try:
            self._data.close()
        except OSError as error:
            raise self._refused(error) from error
        self._save()

    def _capture(self) -> None:
        self._pending = False
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {"core:datetime": now, "core:global_index": self._written + self._lost, **self._about.capture_fields()}
        self._meta.add_capture(self._written, metadata=fields)
        self._changed = True
        if not self._written:
            self._save()

    def _save(self) -> None:
        self._changed, self._saved_at = False, time.monotonic()
        temporary = self._meta_path.with_name(self._meta_path.name + ".tmp")
        try:
            temporary.write_text(self._meta.dumps() + "\n")
            temporary.replace(self._meta_path)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> StreamError:
        return StreamError(f"{self._data_path}: cannot be written ({error.strerror}); choose another name")


class SigmfSource:
    """A recording of complex samples of any type that SigMF knows, ours or another's."""

    live = False

    def __init__(self, name: str | Path) -> None:
        import sigmf

        data, meta = paths(name)
        for path in (meta, data):
            if not path.is_file():
                raise StreamError(f"--source sigmf:{name}: {path} is not there; check the name")
        try:
            self._file = sigmf.fromfile(str(meta), skip_checksum=True)
            info = self._file.get_global_info()
            captures = self._file.get_captures()
            self._count = int(self._file.sample_count)
            self._marks = _marks(captures, self._file.get_annotations())
        except (sigmf.error.SigMFError, OSError, ValueError, KeyError, TypeError) as error:
            raise StreamError(
                f"--source sigmf:{name}: not a SigMF recording ({error}); restore its metadata"
            ) from error
        if not str(info.get("core:datatype", "")).startswith("c"):
            raise StreamError(f"--source sigmf:{name}: samples are {info.get('core:datatype')}, not complex")
        if info.get("core:num_channels", 1) != 1:
            raise StreamError(
                f"--source sigmf:{name}: holds {info['core:num_channels']} channels side by side; give a recording of one"
            )
        self.settings = RadioSettings(
            sample_rate=info.get("core:sample_rate"), samples_per_symbol=info.get("djscc:samples_per_symbol")
        )
        self.roll_off: float | None = info.get("djscc:roll_off")
        self._name = str(name)

    def __iter__(self) -> Iterator[NDArray[np.complex64] | Gap | Overrun]:
        marks = list(self._marks)
        at = 0
        while at < self._count or marks:
            while marks and marks[0][0] <= at:
                yield marks.pop(0)[1]
            end = min(at + CHUNK, self._count, marks[0][0] if marks else self._count)
            if end > at:
                try:
                    yield np.asarray(self._file.read_samples(at, end - at), np.complex64)
                except (OSError, ValueError) as error:
                    raise StreamError(
                        f"--source sigmf:{self._name}: cannot be read ({error}); all before it was taken"
                    ) from error
            elif at >= self._count:
                for _, mark in marks:
                    yield mark
                return
            at = end

    def close(self) -> None:
        """Nothing is held open."""


def _marks(
    captures: Sequence[Mapping[str, Any]], annotations: Sequence[Mapping[str, Any]]
) -> list[tuple[int, Gap | Overrun]]:
    """Gaps and overruns with their place in the file, in order; TypeError or ValueError for places that are no whole numbers."""
    marks: list[tuple[int, Gap | Overrun]] = []
    lost = 0
    for number, capture in enumerate(captures):
        if "core:global_index" not in capture:
            continue
        start, index = _place(capture, "core:sample_start"), _place(capture, "core:global_index")
        jump = index - start - lost
        if number and jump > 0:
            marks.append((start, Gap(jump)))
        lost += jump
    begin = _place(captures[0], "core:global_index") if captures else 0
    for annotation in annotations:
        if annotation.get("core:label") == "overrun" and "djscc:noticed" in annotation:
            first, noticed = _place(annotation, "djscc:first"), _place(annotation, "djscc:noticed")
            gone = sum(mark.count for place, mark in marks if isinstance(mark, Gap) and place <= first)
            start = max(first - gone - begin, 0)  # before any frame that it may have hit
            marks.append((start, Overrun(first, noticed)))
    return sorted(marks, key=lambda mark: mark[0])


def _place(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    if not isinstance(value, int):
        raise ValueError(f"{name} is {value!r}, no whole number")
    return value


def paths(name: str | Path) -> tuple[Path, Path]:
    """The data and metadata file of a recording, which may be named with either ending or none."""
    base = str(name).removesuffix(".sigmf-data").removesuffix(".sigmf-meta")
    return Path(base + ".sigmf-data"), Path(base + ".sigmf-meta")


def read_metadata(name: str | Path) -> dict[str, Any]:
    """A recording's metadata as they are."""
    content: dict[str, Any] = json.loads(paths(name)[1].read_text())
    return content
