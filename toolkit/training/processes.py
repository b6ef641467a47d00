"""The processes of one training, one for each device: who they are, and what they agree on.

Each runs the same code. What is done once is done by the first, which alone writes the run directory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from toolkit.errors import ToldElsewhere, UserError
from toolkit.training.notice import Notice
from zoo.ranks import Ranks

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """``count`` processes train together, ``local_count`` on each machine; this one is number ``rank`` of them.

    ``everyone`` and ``machine`` are the groups, of all and of those on this machine, that wait patiently for what takes
    long to make. ``notice`` is where a process that ends says why. All must make the calls below, in the same order.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    everyone: Any = None
    machine: Any = None
    notice: Notice | None = None

    def __deepcopy__(self, memo: Any) -> Processes:
        return self  # the moving average is made from a copy of the module; a group of processes has none

    def __str__(self) -> str:
        where = f" on {self.machines} machines" if self.machines > 1 else ""
        threads = torch.get_num_threads()
        return f"{self.count} processes{where}, {threads} {'thread' if threads == 1 else 'threads'} each"

    @property
    def first(self) -> bool:
        """Whether this one does what is done once."""
        return self.rank == 0

    @property
    def machines(self) -> int:
        """How many machines train."""
        return self.count // self.local_count

    @property
    def ranks(self) -> Ranks:
        """What the losses take."""
        return Ranks(self.count)

    def made_once(self, make: Callable[[], T], *, each_machine: bool = False) -> T:
        """Return what the first process, or that of each machine, made. Its ``UserError`` is raised in all of them."""
        if self.count == 1:
            return make()
        maker = self.rank - self.local_rank if each_machine else 0
        made: list[Any] = [None]
        error = None
        if self.rank == maker:
            try:
                made[0] = make()
            except UserError as raised:
                error = raised
        for sentence in self.everyones(None if error is None else str(error)):
            if sentence is not None:
                raise error or self.told_once(sentence)
        dist.broadcast_object_list(made, maker, group=self.machine if each_machine else self.everyone)
        result: T = made[0]
        return result

    def everyones(self, value: T) -> list[T]:
        """Return each process's value, by rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value, self.everyone)
        return values

    def told_once(self, sentence: str) -> UserError:
        """The mistake, for all processes to raise; the first of each machine tells it there."""
        return ToldElsewhere(sentence) if self.local_rank else UserError(sentence)

    def agree(self, values: dict[str, Any]) -> None:
        """Raise ``UserError`` that names the first of the values that is not the same in all processes."""
        first, *others = self.everyones(values)
        for other in others:
            for key, value in first.items():
                if other[key] != value:
                    raise self.told_once(f"{key}: expected the same on all machines, got {value} and {other[key]}")

    def any(self, value: bool) -> bool:
        """Whether ``value`` is true in one of the processes."""
        if self.count == 1:
            return value
        votes = torch.tensor(float(value))  # on the CPU: a GPU need not come to an end for it
        dist.all_reduce(votes)
        return bool(votes)

    def gathered(self, parts: dict[int, T]) -> dict[int, T]:
        """Return, in the first process, the parts of all; elsewhere nothing."""
        if self.count == 1:
            return parts
        everyones: list[Any] | None = [None] * self.count if self.first else None
        dist.gather_object(parts, everyones, group=self.everyone)
        return {key: part for each in everyones or () for key, part in each.items()}

    def share(self, network: nn.Module) -> None:
        """Give all processes the weights and statistics of the first."""
        if self.count > 1:
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, 0)

    def mean(self, tensors: list[torch.Tensor]) -> None:
        """Replace tensors of one kind by their mean over the processes; one call to the network."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.count, [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)])


ALONE = Processes()
