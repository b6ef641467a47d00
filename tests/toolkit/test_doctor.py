"""What `toolkit doctor` recommends."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from toolkit.doctor import _memory


@pytest.mark.parametrize(
    ("pages", "environment", "libc", "told"),
    [
        ("always [madvise] never", {}, "glibc", True),
        ("[always] madvise never", {}, "glibc", False),
        ("always madvise [never]", {}, "glibc", False),
        ("always [madvise] never", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}, "glibc", False),
        ("always [madvise] never", {"LD_PRELOAD": "libjemalloc.so.2"}, "glibc", False),
        ("always [madvise] never", {}, "", False),
        (None, {}, "glibc", False),
    ],
)
def test_huge_pages_are_recommended_where_they_wait_to_be_asked_for(
    pages: str | None,
    environment: dict[str, str],
    libc: str,
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GLIBC_TUNABLES", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, "2.36"))
    enabled = tmp_path / "enabled"
    if pages is not None:
        enabled.write_text(pages)
    assert bool(_memory(enabled)) is told
