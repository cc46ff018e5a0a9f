"""Freed memory goes back to the system."""

import platform
import subprocess
import sys

import pytest

FREED = """
import os
from zh_lstm_lm.runtime.memory import return_freed_memory

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

# Small enough for the heap, whose end the last block keeps in its place.
blocks = [b"x" * 100_000 for _ in range(2_000)]
last = blocks.pop()
del blocks
before = held()
return_freed_memory()
print(before - held())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory that can be asked for")
def test_freed_memory_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 150_000_000
