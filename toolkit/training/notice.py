"""Why a training of several processes ends: one that ends says so where the others look when it is gone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

from torch.distributed import DistError, Store  # type: ignore[attr-defined]

from toolkit.errors import ToldElsewhere, UserError

KEY = "ended"


class Notice:
    """Kept in the store that the processes met by. ``lost`` says of one that was killed how."""

    def __init__(self, store: Store, rank: int, count: int, local_count: int, lost: Callable[[], str | None]) -> None:
        self.store = store
        self.name = f"process {rank + 1} of {count}"
        self.machine, self.local_rank = divmod(rank, local_count)
        self.lost = lost

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Say what ends the block; where that is the end of another process, raise why that one ended."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, RuntimeError):
                self.raise_cause(error)
            self._say(error)
            raise

    def raise_cause(self, error: RuntimeError, going_on: str = "") -> None:
        """Raise ``UserError`` where an error is only the network's word for a process that is gone.

        It is told by the process that said it, and by the first of each other machine.
        """
        if not _of_network(error):
            return
        if said := self._said():
            machine, sentence = json.loads(said)
            told = machine == self.machine or self.local_rank > 0
            raise (ToldElsewhere if told else UserError)(sentence) from error
        lost = self.lost() or "another process of this training is gone (torchrun says which)"
        sentence = f"{lost}, and the rest cannot train without it"
        raise UserError(f"{sentence}; {going_on}" if going_on else sentence) from error

    def _say(self, error: BaseException) -> None:
        """Say why this process ends, unless another one did so before."""
        told = str(error) if isinstance(error, UserError) else f"{self.name} ended with {type(error).__name__}"
        with contextlib.suppress(RuntimeError):  # the store is gone with the process that kept it
            self.store.compare_set(KEY, "", json.dumps([self.machine, told]))

    def _said(self) -> bytes | None:
        """What was said: a process that ends does so before it hangs up, one that is killed never."""
        with contextlib.suppress(RuntimeError):  # the store is gone too
            return self.store.get(KEY) if self.store.check([KEY]) else None
        return None


def _of_network(error: RuntimeError) -> bool:
    return isinstance(error, DistError) or any(name in str(error) for name in ("gloo", "NCCL"))
