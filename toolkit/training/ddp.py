"""What Lightning is told of processes that train together, and what its DDP leaves to us."""

from __future__ import annotations

from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy

from toolkit.config.schema import CommonConfig
from toolkit.training.launch import uses_cuda
from toolkit.training.processes import Processes


def devices(config: CommonConfig, processes: Processes) -> dict[str, Any]:
    """The trainer's arguments. Several devices have the whole network each, and average its gradients."""
    settings = config.train
    if processes.count == 1 and settings.strategy == "auto":
        return {"accelerator": {"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[settings.device], "devices": 1}
    on_cuda = uses_cuda(config)
    return {
        "accelerator": "gpu" if on_cuda else "cpu",
        "devices": processes.local_count,
        "num_nodes": processes.machines,
        # DDP would send the statistics before each forward pass; `MeanStatistics` keeps them equal.
        "strategy": DDPStrategy(cluster_environment=Started(processes), broadcast_buffers=False),
        "sync_batchnorm": on_cuda,  # torch has it for CUDA only
    }


class MeanStatistics(Callback):
    """Makes the batch-norm statistics of all processes their mean after every batch, so that all keep one network.

    Where a batch is normalised by each process for itself, as on the CPU, they would drift apart.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        statistics = [buffer for buffer in pl_module.buffers() if buffer.is_floating_point()]
        if statistics:
            self.processes.mean(statistics)


class Started(ClusterEnvironment):
    """Tells Lightning that all processes run already, and which one this is."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        raise NotImplementedError("the process group is there before Lightning asks for it")

    @property
    def main_port(self) -> int:
        raise NotImplementedError("the process group is there before Lightning asks for it")

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.processes.count

    def set_world_size(self, size: int) -> None: ...

    def global_rank(self) -> int:
        return self.processes.rank

    def set_global_rank(self, rank: int) -> None: ...

    def local_rank(self) -> int:
        return self.processes.local_rank

    def node_rank(self) -> int:
        return self.processes.rank // self.processes.local_count
