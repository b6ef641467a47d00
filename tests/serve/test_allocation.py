"""The memory of one picture serves the next: counted in pages that the kernel had to bring."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PICTURES = 20
SCRIPT = f"""
import resource
import numpy as np
from serve.allocation import hold_on
from toolkit import images
hold_on()
data = images.encode(np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8), ".jpg")
for _ in range(5):
    images.decode(data)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({PICTURES}):
    images.decode(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what is asked of the C library, only glibc knows")
def test_pictures_are_decoded_into_memory_that_is_there() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True).stdout
    pages_of_a_picture = 800 * 600 * 3 // 4096
    assert int(said) < PICTURES * pages_of_a_picture / 10
