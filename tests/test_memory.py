# SPDX-License-Identifier: GPL-3.0-or-later
"""What is freed goes back to the system."""

import gc
import platform
import subprocess
import sys
import weakref

import pytest
from djscc.memory import return_freed_memory, spare_no_more, spare_what_is_loaded

# in a process of its own, whose allocator no other test has used
PROGRAM = """
import os
import numpy as np
from djscc.memory import map_large_blocks, return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

map_large_blocks()
for size, count in ((400_000, 200), (3_000_000, 40)):
    start = resident()
    pieces = [np.ones(size, np.uint8) for _ in range(count)]
    most = resident() - start
    del pieces[::2]  # between what stays
    if size < 1 << 20:
        return_freed_memory()
    print(size, most / (size * count), (resident() - start) / (size * count))
    del pieces
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_freed_memory_goes_back_to_the_system():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    shares = [tuple(map(float, line.split())) for line in result.stdout.splitlines()]
    assert [size for size, *_ in shares] == [400_000, 3_000_000]
    for _, most, left in shares:
        assert most > 0.9 and 0.4 < left < 0.6


class Cycle:
    """Refers to itself, so only a collection frees it."""

    def __init__(self) -> None:
        self.me = self


def test_cycles_that_lived_long_are_freed_and_what_was_loaded_is_passed_over():
    loaded = Cycle()
    spare_what_is_loaded()
    try:
        assert gc.get_freeze_count() > 1_000
        assert all(thing is not loaded for thing in gc.get_objects())
        old = Cycle()
        gc.collect(1)
        gc.collect(1)  # now among those that Python leaves for long
        gone = weakref.ref(old)
        del old
        gc.collect(1)
        assert gone() is not None
        return_freed_memory()
        assert gone() is None
    finally:
        spare_no_more()
    assert gc.get_freeze_count() == 0
