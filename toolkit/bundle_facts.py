"""What a bundle says of itself in short: for a list of bundles, on a terminal and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolkit.bundle import Bundle
from toolkit.errors import UserError
from toolkit.evaluation.sections import Ranged
from toolkit.evaluation.table import counted
from toolkit.evaluation.task import evaluation_task

METRICS, SPEED = "metrics.json", "speed.json"


@dataclass(frozen=True)
class Facts:
    """``numbers`` are the few that a list has room for, by name; ``metrics`` all of them, None where none are held."""

    bundle: Bundle
    metrics: dict[str, Any] | None
    numbers: dict[str, Ranged]

    @classmethod
    def of(cls, bundle: Bundle) -> Facts:
        if METRICS not in bundle.names():
            return cls(bundle, None, {})
        metrics = bundle.read_json(METRICS)
        try:
            counted(metrics)
            return cls(bundle, metrics, evaluation_task(bundle.task).headline(metrics))
        except (KeyError, TypeError, AttributeError):
            raise UserError(
                f"bundle {bundle.path}: {METRICS} does not hold what `toolkit evaluate` writes; export the bundle again"
            ) from None

    @property
    def measured_on(self) -> str:
        """Such as ``133 pictures, 462 boxes of the split val``."""
        if self.metrics is None:
            return "nothing"
        return f"{counted(self.metrics)} of the split {self.metrics['data']['split']}"

    @property
    def unsure(self) -> str:
        """When it abstains, in words."""
        rule = self.bundle.spec.abstention
        if rule is None:
            return "never"
        return f"up to {rule.at:.3f}, so that at most {100 * rule.error_level:g} % of the others are wrong"

    @property
    def int8(self) -> str:
        """Whether it has an int8 network, and what came of trying it."""
        tried = self.bundle.spec.network.int8
        return "not tried" if tried is None else tried.told

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        spec, rule = self.bundle.spec, self.bundle.spec.abstention
        return {
            "name": spec.name,
            "version": spec.version,
            "task": spec.task,
            "labels": list(spec.labels),
            "input_size": list(spec.preprocessing.input_size),
            "bytes": self.bundle.size,
            "measured_on": self.measured_on,
            "numbers": {
                name: {"value": cell.value, "interval": None if cell.around is None else list(cell.around)}
                for name, cell in self.numbers.items()
            },
            "abstention": None if rule is None else {"abstain_at": rule.at, "error_level": rule.error_level},
            "precisions": list(spec.network.files()),
            "int8": None if spec.network.int8 is None else spec.network.int8.told,
            "speed": self.bundle.read_json(SPEED) if SPEED in self.bundle.names() else None,
            "licence": spec.licence,
        }
