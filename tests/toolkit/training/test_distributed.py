"""Two processes, each with its share of every batch, train what one does with all of it."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import quick_runs
import torch
from same_runs import same_end
from two_processes import Job, in_two_processes, seen, train_all, write_config

from toolkit.api import train_from
from toolkit.config import load_config
from toolkit.data import load_table
from toolkit.errors import ToldElsewhere, UserError
from toolkit.training.dataset import ValidationSet
from toolkit.training.loader import EpochBatches, validation_batches, validation_loader
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.notice import Notice
from toolkit.training.run_folder import BEST
from toolkit.training.task import training_task
from toolkit.training.weights import network_weights, read_checkpoint

Runs = Callable[[str, int], Path]

# Batch norm takes the start weights' statistics, so that it computes the same of a share as of all; no dropout.
# Of random weights AdamW would make steps of full length in directions that are nothing but rounding.
SGD = "train.optimizer={name: sgd, lr: 1e-2}"
CHANGES: dict[str, list[str]] = {
    "detection": [],  # 21 steps; its config says the rest
    "classification": [
        "train.epochs=2", "train.validate_every=1", SGD,
    ],
    "segmentation": [
        "train.epochs=2", "train.validate_every=2", SGD,
        "train.batch_size=4", "loss.class_weights=[0.5, 1, 2]", "train.accumulate=2",
    ],
}  # fmt: skip
TASKS = tuple(CHANGES)
FAILING = {
    "diverged": ["train.optimizer={name: sgd, lr: 1e30}", "train.warmup_epochs=0"],
    "nowhere": ["data.root=nowhere"],
}
# A training in the usual way, which is killed and goes on below.
LIVES = ["train.devices=2", "train.epochs=3", "train.checkpoint_every=2"]


@pytest.fixture(scope="module")
def runs(quick_configs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Called with a task and a number of processes, the run of it; all are trained at the first call."""
    folder = tmp_path_factory.mktemp("processes")
    configs = {"detection": write_config(folder)}
    for task in ("classification", "segmentation"):
        (folder / task).mkdir()
        configs[task] = quick_runs.write_config(task, folder / task)
        leave_one_out(folder / task / "pictures/index.csv")

    def jobs(devices: int) -> list[Job]:
        return [
            Job(config=str(configs[task]), overrides=[*changes, f"train.devices={devices}"],
                run=str(folder / f"{task}{devices}"), frozen=True)
            for task, changes in CHANGES.items()
        ]  # fmt: skip

    train_all(jobs(1))
    failing = [
        Job(config=str(configs["classification"]), overrides=["train.devices=2", *changes], run=str(folder / name),
            fails=True)
        for name, changes in FAILING.items()
    ]  # fmt: skip
    lives = Job(config=str(quick_configs["detection"]), overrides=LIVES, run=str(folder / "lives2"))
    in_two_processes([*jobs(2), *failing, lives])
    return lambda name, devices: folder / f"{name}{devices or ''}"


def leave_one_out(table: Path) -> None:
    """Take a picture to validate on out of a table: their number becomes odd."""
    lines = table.read_text().splitlines(keepends=True)
    lines.remove(next(line for line in lines if ",val" in line))
    table.write_text("".join(lines))


@pytest.mark.parametrize("task", TASKS)
def test_the_losses_of_each_step_are_those_of_one_process(task: str, runs: Runs) -> None:
    one = seen(runs(task, 1))["steps"]
    shares = [seen(runs(task, 2), rank)["steps"] for rank in (0, 1)]
    assert len(one) == len(shares[0]) == len(shares[1]) >= (20 if task == "detection" else 6)
    for whole, *parts in zip(one, *shares, strict=True):
        assert parts[0]["pictures"] + parts[1]["pictures"] == whole["pictures"]
        for name in whole.keys() - {"pictures", "objects"}:
            assert parts[0][name] == parts[1][name]
            assert parts[0][name] == pytest.approx(whole[name], rel=1e-4, abs=1e-4), name


def test_the_shares_were_as_different_as_can_be(runs: Runs) -> None:
    counts = [[step["objects"] for step in seen(runs("detection", 2), rank)["steps"]] for rank in (0, 1)]
    assert any(a == 0 < b or b == 0 < a for a, b in zip(*counts, strict=True))
    assert sum(a != b for a, b in zip(*counts, strict=True)) > 10


@pytest.mark.parametrize("task", TASKS)
def test_both_processes_have_one_network_to_the_last_bit(task: str, runs: Runs) -> None:
    checks = [seen(runs(task, 2), rank)["checks"] for rank in (0, 1)]
    assert checks[0]
    for a, b in zip(*checks, strict=True):
        assert a["weights"] == b["weights"]  # the moving average, with its statistics
        assert a["numbers"] == b["numbers"]


@pytest.mark.parametrize("task", TASKS)
def test_each_picture_is_validated_on_once(task: str, runs: Runs) -> None:
    one, *both = (
        seen(runs(task, devices), rank)["checks"][-1]["pictures"] for devices, rank in ((1, 0), (2, 0), (2, 1))
    )
    assert sorted(both[0] + both[1]) == one
    assert len(one) % 2 == 1
    assert len(both[0]) + len(both[1]) == len(one)


@pytest.mark.parametrize("task", TASKS)
def test_the_validation_says_exactly_what_one_process_says_of_those_weights(task: str, runs: Runs) -> None:
    run = runs(task, 2)
    config = load_config(run / "config.yaml").config
    table = load_table(config)
    network = build_network(config.model, len(table.class_names))
    network.load_state_dict(network_weights(read_checkpoint(run / BEST)))
    held_out = table.subset("val")
    module = training_task(config.task).module(network, config, table.subset("train"), held_out, total_steps=1)
    network.eval()  # a new module is in training
    answers = []
    for batch in itertools.chain(
        *validation_loader(ValidationSet(held_out, preprocessing_of(config), 0), config.train.batch_size)
    ):
        with torch.inference_mode():
            raw = network(batch.images.to(memory_format=torch.channels_last)).numpy()
        each = zip(raw, batch.placements, batch.indices, strict=True)
        answers += [module.answer(row.copy(), placement, index) for row, placement, index in each]
    told = [check["numbers"] for check in seen(run)["checks"]]
    expected = {f"val/{name}": torch.tensor(value).item() for name, value in module.numbers(answers).items()}
    assert next(iter(expected.values())) > 0
    assert any(expected.items() <= numbers.items() for numbers in told), (expected, told)


@pytest.mark.parametrize(
    ("length", "batch_size", "ranks", "batches"),
    [
        (10, 4, 1, 3),
        (10, 4, 2, 3),
        (9, 4, 2, 2),  # one picture is left, which goes with the batch before
        (13, 4, 4, 3),
        (3, 4, 3, 1),
    ],
)
def test_batches_to_validate_on(length: int, batch_size: int, ranks: int, batches: int) -> None:
    shares = [validation_batches(length, batch_size, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert all(len(share) == batches and all(share) for share in shares)
    assert sorted(itertools.chain(*itertools.chain(*shares))) == list(range(length))


def test_a_mistake_is_told_by_one_process_and_ends_both(runs: Runs) -> None:
    for name, sentence in (("diverged", "the loss is not finite"), ("nowhere", "nowhere/index.csv: no such file")):
        (first, told), (second, also_told) = (seen(runs(name, 0), rank)["told"] for rank in (0, 1))
        assert first != "ToldElsewhere"
        assert second == "ToldElsewhere"
        assert sentence in told
        assert sentence in also_told


def test_each_process_leaves_its_share_of_a_step_that_diverged(runs: Runs) -> None:
    steps = [seen(runs("diverged", 0), rank)["steps"] for rank in (0, 1)]
    step = len(steps[0])
    told = seen(runs("diverged", 0))["told"][1]
    assert f"step {step} " in told
    assert "and 2 more" in told  # of the 8 pictures of both
    for rank in (0, 1):
        left = torch.load(runs("diverged", 0) / f"faults/nan_step_{step}_rank{rank}.pt", weights_only=True)
        assert (left["rank"], left["processes"], len(left["images"])) == (rank, 2, 4)


GONE = RuntimeError("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer")


@pytest.mark.parametrize(
    ("ended", "rank", "local_count", "kind", "sentence"),
    [
        (UserError("the disk is full"), 1, 2, ToldElsewhere, "the disk is full"),
        (UserError("the disk is full"), 1, 1, UserError, "the disk is full"),  # each machine tells it once
        (UserError("the disk is full"), 3, 2, ToldElsewhere, "the disk is full"),
        (ValueError("a bug"), 1, 2, ToldElsewhere, "process 1 of 4 ended with ValueError"),
        (None, 1, 2, UserError, "process 1 was killed, and the rest cannot train without it; go on"),
    ],
)
def test_why_another_process_is_gone(
    ended: Exception | None, rank: int, local_count: int, kind: type[UserError], sentence: str
) -> None:
    store = torch.distributed.HashStore()
    if ended:
        with pytest.raises(type(ended)), Notice(store, 0, 4, local_count, lambda: None).kept():
            raise ended
    notice = Notice(store, rank, 4, local_count, lambda: "process 1 was killed")
    with pytest.raises(UserError) as caught:
        notice.raise_cause(GONE, "go on")
    assert (type(caught.value), str(caught.value)) == (kind, sentence)
    notice.raise_cause(RuntimeError("a bug of this process"))


def test_batches_are_whole_while_statistics_are_estimated() -> None:
    batches = EpochBatches(10, 4, 0, rank=1, ranks=2)
    share = list(batches)
    with batches.undivided():
        whole = list(batches)
    assert [batch[2:] for batch in whole] == share == list(batches)


# What torchrun tells a process that it starts.
STARTED = {
    "RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "x",
    "MASTER_PORT": "1",
}


@pytest.mark.parametrize(
    ("overrides", "started", "sentence"),
    [
        (["train.devices=2", "train.device=auto"], {}, "train.devices=2: torch finds 1 on this machine; give at most"),
        (["train.devices=3"], {}, "train.batch_size=4: expected a multiple of the 3 devices .*; take 3 or 6"),
        (["train.devices=5"], {}, "train.batch_size=4: expected a multiple of the 5 devices .*; take 5$"),
        (["train.num_nodes=2"], {}, "train.num_nodes=2: start the training on each machine by torchrun --nnodes 2"),
        ([], STARTED, "torchrun started 2 processes, 1 on this machine; give train.devices=1 train.num_nodes=2"),
        (["train.devices=4"], STARTED, "torchrun started 2 processes, 1 on this machine; give train.devices=1"),
    ],
)
def test_what_does_not_fit_together_is_told_before_anything_starts(
    overrides: list[str],
    started: dict[str, str],
    sentence: str,
    quick_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match=sentence):
        train_from(quick_config, overrides, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# The command line without its export, in a process that sends its follower a signal when step 4 has begun (0: none).
COMMAND_LINE = """
import os, sys
import toolkit.training.train as train
from toolkit.training import launch
from toolkit.training.module import TaskModule
number = int(sys.argv.pop(1))
train._finish = lambda run, *_: run
inner, start, started = TaskModule.training_step, launch.Followers._start, []
def training_step(self, batch, batch_idx):
    if self.trainer.global_step == 4:
        os.kill(started[0].pid, number)
    return inner(self, batch, batch_idx)
launch.Followers._start = staticmethod(lambda *whose: started.append(start(*whose)) or started[-1])
TaskModule.training_step = training_step
sys.argv[0] = "toolkit"
from toolkit.cli.main import main
main()
"""


def command_line(*arguments: str, signalled: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND_LINE, str(signalled), "train", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_process_that_dies_ends_the_training_which_goes_on_to_the_same_end(
    quick_config: Path, runs: Runs, tmp_path: Path
) -> None:
    lost = tmp_path / "lost"
    ended = command_line(str(quick_config), *LIVES, "--run-dir", str(lost), signalled=signal.SIGKILL)
    assert ended.returncode == 2, ended.stderr
    said = ended.stderr.splitlines()[-1]
    assert said.endswith(
        "error: process 2 of 2 was killed by signal 9, and the rest cannot train without it;"
        f" `toolkit train --resume {lost}` goes on after step 4"
    )
    resumed = command_line("--resume", str(lost))
    assert (resumed.returncode, resumed.stdout) == (0, f"{lost}\n"), resumed.stderr
    assert "2 processes, " in resumed.stderr
    assert "resumed after step 4;" in resumed.stderr
    same_end(runs("lives", 2), lost)
