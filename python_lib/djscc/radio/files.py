# SPDX-License-Identifier: GPL-3.0-or-later
"""Interleaved float32 I and Q, little-endian (cf32_le), in files, named pipes, standard input and output."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from djscc.radio.errors import StreamError
from djscc.radio.settings import RadioSettings

CHUNK = 1 << 20  # samples read at once
POLL_S = 0.2


class FileSource:
    """Samples of a file or named pipe, or of standard input (None). One that cannot be opened is refused at once."""

    settings = RadioSettings()

    def __init__(self, path: Path | None) -> None:
        self._name = "standard input" if path is None else str(path)
        self.live = path is None or not path.is_file()
        try:
            if path is None:
                self._descriptor = os.dup(sys.stdin.fileno())
            else:
                self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StreamError(f"--source {self._name}: cannot be read ({error.strerror}); check the path") from error

    def __iter__(self) -> Iterator[NDArray[np.complex64] | None]:
        rest = b""
        while True:
            if self.live and not select.select([self._descriptor], [], [], POLL_S)[0]:
                yield None
                continue
            try:
                data = os.read(self._descriptor, 8 * CHUNK)
            except OSError as error:
                raise StreamError(
                    f"--source {self._name}: cannot be read ({error.strerror}); check the path"
                ) from error
            if not data:
                break
            data = rest + data
            whole = len(data) // 8 * 8
            rest = data[whole:]
            if whole:
                yield np.frombuffer(data[:whole], dtype="<c8")
        if rest:
            raise StreamError(
                f"{self._name}: truncated recording: it ends within a sample ({len(rest)} of 8 bytes); all before it was taken"
            )

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class FileSink:
    """A file that is written anew, a named pipe, or standard output (None)."""

    taken = 0  # it takes all at once

    def __init__(self, path: Path | None) -> None:
        self._name = "standard output" if path is None else str(path)
        try:
            self._file = os.fdopen(os.dup(sys.stdout.fileno()), "wb") if path is None else path.open("wb")
        except OSError as error:
            raise self._refused(error) from error

    def write(self, samples: NDArray[np.complex64]) -> bool:
        """Take samples."""
        try:
            self._file.write(samples.astype("<c8").tobytes())
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error
        return True

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> StreamError:
        if isinstance(error, BrokenPipeError):
            return StreamError(f"--sink {self._name}: the program that reads it has ended")
        return StreamError(f"--sink {self._name}: cannot be written ({error.strerror}); choose another file")
