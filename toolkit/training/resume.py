"""Going on with a training that died: the resume point, and what makes the rest of the run come out the same.

A resumed run ends with the very weights of one that was not stopped, bit for bit, on the same machine with the same
number of threads on the CPU. Early stopping and the time limit are outside that promise.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint

from toolkit.data.fingerprint import compare, fingerprint, read_fingerprint
from toolkit.data.table import Table
from toolkit.errors import UserError
from toolkit.training.checkpoint_io import CheckpointFiles
from toolkit.training.interrupts import Interrupts
from toolkit.training.run_folder import DATA, LAST, LOCK, RECORD, SHORT, Run, environment
from toolkit.training.weights import read_checkpoint


class SeedEachStep(Callback):
    """Seeds the global generators before each step from (seed, epoch, batch, rank).

    So dropout draws the same numbers in a resumed run, and nothing that drew numbers in between matters.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        seed_step(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)


def seed_step(seed: int, epoch: int, batch: int, rank: int) -> None:
    """Seed the global generators for one batch."""
    number = int(np.random.SeedSequence((seed, epoch, batch, rank)).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


class ResumePoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt``, and stops after it where a signal asked for that.

    It is written every ``every`` steps where that is given, before each validation, and at each epoch's end.
    """

    def __init__(self, files: CheckpointFiles, every: int | None, interrupts: Interrupts) -> None:
        self.files = files
        self.every = every
        self.interrupts = interrupts
        self._validates_next = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = batch_idx + 1
        if done == trainer.num_training_batches:
            # Without a validation the epoch's end comes at once, and has its own point.
            due = self._validates_next = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        elif done % trainer.accumulate_grad_batches:
            return  # between the batches of one optimizer step the gradients would be lost
        else:
            due = self.every is not None and trainer.global_step % self.every == 0
        asked = self.interrupts.asked()
        if due or (asked and done < trainer.num_training_batches):
            self.save(trainer, (trainer.current_epoch, done), stop=asked)
        self._validates_next = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save(trainer, (trainer.current_epoch + 1, 0), stop=self.interrupts.asked())

    def save(self, trainer: pl.Trainer, position: tuple[int, int], *, stop: bool = False) -> None:
        """Write the resume point; ``position`` is the (epoch, batch) that comes next."""
        trainer.train_dataloader.position = position  # type: ignore[union-attr]
        trainer.save_checkpoint(self.files.run.path / LAST)
        self.files.step = trainer.global_step
        if stop:
            self.interrupts.stop()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Have a run that is resumed before a validation begin with it.

        The trainer takes an epoch whose last batch is done for complete. It goes back to a validation that had begun,
        so that is what its counters are made to say: all batches complete, the first of the validation in work.
        """
        if self._validates_next:
            loops = checkpoint["loops"]["fit_loop"]
            for counts in loops["epoch_loop.batch_progress"].values():
                if isinstance(counts, dict):
                    counts["completed"] = counts["processed"]
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            loops["epoch_loop.val_loop.batch_progress"] |= {"total": begun, "current": begun}


class BestPoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt``, also of a run whose directory was moved before it was resumed."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def moved(path: str) -> str:
            return path.replace(str(state_dict["dirpath"]), str(self.dirpath))

        paths = {key: moved(state_dict[key]) for key in ("dirpath", "best_model_path", "kth_best_model_path")}
        best = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best})


class Resumed(NamedTuple):
    """Where a run goes on: the optimizer ``step`` that its resume point was written after, and the loader's state."""

    step: int
    loader: dict[str, Any]

    @property
    def epoch(self) -> int:
        """How many epochs are complete."""
        return int(self.loader["position"][0])


def resume_point(run: Run) -> Resumed | None:
    """What the run's resume point says; ``None`` when there is no point yet."""
    path = run.path / LAST
    if not path.is_file():
        return None
    state = read_checkpoint(path)
    return Resumed(state["global_step"], state["loops"]["fit_loop"]["state_dict"]["combined_loader"][0])


def digest_of_point(run: Run) -> str | None:
    """The beginning of the SHA-256 of the resume point; ``None`` where there is none."""
    path = run.path / LAST
    return hashlib.sha256(path.read_bytes()).hexdigest()[:SHORT] if path.is_file() else None


def check_pictures(run: Run, table: Table[Any]) -> None:
    """Raise ``UserError`` unless the table holds the pictures and labels that the run was started with."""
    changes = compare(read_fingerprint(run.path / DATA), fingerprint(table))
    if changes:
        changed = next(iter([*changes.only_a, *changes.only_b, *changes.content, *changes.labels, *changes.split]), "")
        what = f"{changes.pictures} pictures differ, such as {changed}" if changed else "they stand in another order"
        raise UserError(f"{run}: expected the pictures and labels that the run was started with, but {what}")


def environment_changes(run: Run, threads: int, processes: int) -> list[str]:
    """What is another now than when the run was started, of all that the last bits of the weights depend on."""
    kept = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    here = environment()
    pairs = {key: (kept.get(key), here.get(key)) for key in ("python", "platform", "processor", "code")}
    pairs |= {name: (kept["packages"].get(name), version) for name, version in here["packages"].items()}
    started = json.loads((run.path / RECORD).read_text(encoding="utf-8"))
    pairs |= {"threads": (started["threads"], threads), "processes": (started.get("processes", 1), processes)}
    return [f"{key} was {before} and is {now}" for key, (before, now) in pairs.items() if before != now]


@contextmanager
def only_trainer(run: Run) -> Iterator[None]:
    """Hold the run directory for this process; raises ``UserError`` when another one trains in it."""
    with (run.path / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise UserError(f"{run}: process {file.read().strip()} is training in it; wait for it or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
