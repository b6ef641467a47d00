"""Ctrl-C and SIGTERM: the step ends, nothing is lost, and the resumed run ends as if nobody had stopped it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cut_runs import SHORT, at_call, only_steps, point_of
from same_runs import same_end

from toolkit.api import resume_from, train_from
from toolkit.training import interrupts
from toolkit.training.module import TaskModule


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Steps alone, in a process that hears Ctrl-C: one that a script started in its background inherits it ignored."""
    only_steps(monkeypatch)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "hook", "call", "more", "kept"),
    [
        (signal.SIGINT, "training_step", 1, (), 1),
        (signal.SIGTERM, "training_step", 5, (), 5),
        (signal.SIGINT, "training_step", 3, (), 3),  # the last of the epoch: its validation is not waited for
        (signal.SIGTERM, "training_step", 3, ("train.validate_every=2",), 3),  # none comes: the epoch's end does
        (signal.SIGINT, "training_step", 6, (), 6),  # the last of all
        (signal.SIGINT, "training_step", 1, ("train.accumulate=2",), 1),  # two batches are one step
        (signal.SIGTERM, "training_step", 5, ("train.accumulate=2",), 3),
        (signal.SIGINT, "validation_step", 1, (), 3),
        (signal.SIGTERM, "validation_step", 4, (), 6),
    ],
)
def test_a_signal_stops_after_the_step_and_loses_nothing(
    number: int, hook: str, call: int, more: tuple[str, ...], kept: int, classifier: Path,
    whole_run: Callable[..., Path], tmp_path: Path,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    before = [signal.getsignal(each) for each in interrupts.NAMES]
    with pytest.MonkeyPatch.context() as patch:
        at_call(patch, TaskModule, hook, call, send(number))
        with pytest.raises((KeyboardInterrupt, SystemExit)) as caught:
            train_from(classifier, [*SHORT, *more], run_dir=run)
    assert [signal.getsignal(each) for each in interrupts.NAMES] == before
    assert caught.type is (KeyboardInterrupt if number == signal.SIGINT else SystemExit)
    assert number == signal.SIGINT or caught.value.code == 143
    log = (run / "train.log").read_text(encoding="utf-8").splitlines()
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert log[-1].endswith(f" stopped by {name}; `toolkit train --resume {run}` goes on after step {kept}")
    assert sum(f"{name}: ending the running step, then saving" in line for line in log) == 1
    assert point_of(run) == kept
    resume_from(run)
    same_end(whole_run(*more), run)


class Died(Exception):
    """Stands for a kill -9: nothing is caught, nothing is saved."""


def dies() -> None:
    raise Died


@pytest.mark.parametrize("call", [1, 2, 4])
def test_a_training_killed_in_a_validation_goes_on_with_that_validation(
    call: int, classifier: Path, whole_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        at_call(patch, TaskModule, "validation_step", call, dies)
        with pytest.raises(Died):
            train_from(classifier, SHORT, run_dir=run)
    assert point_of(run) == (3 if call < 3 else 6)
    resume_from(run)
    same_end(whole_run(), run)


def twice() -> None:
    send(signal.SIGINT)()
    send(signal.SIGINT)()


@pytest.mark.parametrize(("echo", "kept"), [(-1.0, 3), (60.0, 4)])
def test_a_second_ctrl_c_ends_at_once_unless_it_is_the_first_ones_echo(
    echo: float, kept: int, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupts, "ECHO", echo)
    at_call(monkeypatch, TaskModule, "training_step", 4, twice)
    with pytest.raises(KeyboardInterrupt):
        train_from(classifier, SHORT, run_dir=tmp_path / "run")
    assert point_of(tmp_path / "run") == kept
    log = (tmp_path / "run/train.log").read_text(encoding="utf-8").splitlines()
    assert log[-1].endswith(f"stopped by Ctrl-C; `toolkit train --resume {tmp_path}/run` goes on after step {kept}")


@pytest.mark.parametrize(
    ("place", "how"),
    [
        ("toolkit.training.report.draw_data", "begins anew, as there is no resume point yet"),
        ("toolkit.training.train._finish", "goes on after step 6"),  # it exports, and no more
    ],
)
def test_before_and_after_the_steps_ctrl_c_ends_at_once(
    place: str, how: str, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, lambda *_: send(signal.SIGINT)())
    with pytest.raises(KeyboardInterrupt):
        train_from(classifier, SHORT, run_dir=tmp_path / "run")
    assert (tmp_path / "run/train.log").read_text(encoding="utf-8").endswith(f"{how}\n")


def test_other_exits_pass(classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_call(monkeypatch, TaskModule, "training_step", 1, lambda: sys.exit(7))
    with pytest.raises(SystemExit, match="7"):
        train_from(classifier, SHORT, run_dir=tmp_path / "run")


# The command line without plots and export.
COMMAND = """
import sys
import toolkit.training.train as train, toolkit.training.report as report
train._finish = lambda run, *_: run
report.draw_data = lambda *_: None
from toolkit.cli.main import main
sys.argv[0] = "toolkit"
main()
"""


def group(leader: int) -> list[int]:
    """The processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since
            head, _, fields = path.read_text(encoding="utf-8").rpartition(")")
            if int(fields.split()[2]) == leader:
                found.append(int(head.split(" ")[0]))
    return found


def test_the_loaders_processes_outlive_signals_until_the_step_is_done(classifier: Path, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to all processes of a training, a system that shuts down SIGTERM."""
    run = tmp_path / "run"
    changes = ["train.epochs=500", "train.batch_size=12", "train.checkpoint_every=100", "data.workers=2"]
    command = [sys.executable, "-c", COMMAND, "train", str(classifier), *changes, "--run-dir", str(run)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr
        seen = []
        for line in process.stderr:
            seen.append(line)
            if "epoch 2/500" in line:
                others = [pid for pid in group(process.pid) if pid != process.pid]
                assert len(others) >= 3  # the workers and what they were forked from
                for pid in others:
                    os.kill(pid, signal.SIGINT)
            if "epoch 8/500" in line:  # they have gone on
                os.killpg(process.pid, signal.SIGTERM)
            if "epoch 60/500" in line:
                process.kill()
    assert process.returncode == 143, "".join(seen)
    assert seen[-1].endswith(f"stopped by SIGTERM; `toolkit train --resume {run}` goes on after step {point_of(run)}\n")
    assert not [line for line in seen if "Traceback" in line], "".join(seen)
