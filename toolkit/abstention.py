"""When an answer is "unsure": a score that is not over a threshold that was fitted to keep a stated error.

How the threshold is found, and what it promises, stands in ``toolkit.exporting.calibrate``, or where it comes from a
cross-validation in ``toolkit.evaluation.abstain_elsewhere``.
"""

from __future__ import annotations

from dataclasses import dataclass

UNSURE = "unsure"


@dataclass(frozen=True)
class Abstention:
    """Answers whose score is not over ``at`` are unsure; of the others, at most ``error_level`` should be wrong."""

    at: float
    error_level: float
    kept_in: str = "validation"

    def abstains(self, score: float) -> bool:
        return not score > self.at

    def decision(self, label: str, score: float) -> str:
        """The label, or "unsure"."""
        return UNSURE if self.abstains(score) else label

    def reason(self, label: str, score: float) -> str:
        """One sentence that says why the answer is unsure; "" where it is not."""
        if not self.abstains(score):
            return ""
        held = "no threshold" if self.at >= 1 else f"only more than {self.at:.3f}"
        return (
            f"{UNSURE}, because {label} has {score:.3f}, and {held} kept the wrong answers under"
            f" {100 * self.error_level:g} % in {self.kept_in}"
        )
