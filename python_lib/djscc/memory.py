# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of programs that run for hours: what they free goes back to the system. Only glibc needs it, and only there it is done."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3  # of malloc.h
LARGE = 1 << 20  # bytes


def map_large_blocks() -> None:
    """Have blocks of 1 MiB and more mapped, each by itself, so that freeing one returns it whole. Call it before they are made.

    glibc on its own soon puts blocks of up to 32 MiB between small ones, where they leave holes; and as NumPy asks for huge pages
    under its large arrays, the kernel may fill such holes again, 2 MiB at a time (mallopt(3), khugepaged).
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGE)


def return_freed_memory() -> None:
    """Return free pages that lie between what is in use, which glibc keeps otherwise (malloc_trim(3))."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
