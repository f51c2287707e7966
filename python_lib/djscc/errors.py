# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of every error that a user can mend: the command line prints its message and exits with 1, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DjsccError(ValueError):
    """Something given to the library cannot be used; the message names the value and the remedy."""


@contextmanager
def writing_picture(path: str | Path, kind: type[DjsccError]) -> Iterator[None]:
    """Raise an error of this kind where Matplotlib cannot write a picture there."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a suffix that is no picture format
        raise kind(f"{path}: cannot be written as a picture ({error})") from error
