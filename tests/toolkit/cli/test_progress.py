"""The bar on standard error: there on a terminal, silent otherwise, and gone once it is full."""

from __future__ import annotations

import io
import sys

import pytest

from toolkit.cli.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_label_has_a_bar_that_ends_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar() as move:
        for done in range(4):
            move("checking pictures", done, 3)
        shown = len(terminal.getvalue())
        print("a line of the training", file=terminal)
        assert terminal.getvalue()[shown:] == "a line of the training\n"  # nothing is drawn over it
        move("evaluating", 1, 9)
    assert "checking pictures" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    assert "1/9" in terminal.getvalue()


def test_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as move:
        move("checking pictures", 1, 2)
    assert capsys.readouterr().err == ""
