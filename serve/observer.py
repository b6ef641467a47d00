"""What the service tells of itself while it works. This one listens to nothing; metrics are one that counts."""

from __future__ import annotations

from toolkit.inference import Model


class Observer:
    """Called from the event loop and from worker threads alike, so an implementation takes care of both.

    It must return at once, and what it raises is a fault of the service.
    """

    def stage(self, model: Model, name: str, seconds: float) -> None:
        """A stage of one picture has ended: ``queue``, ``decode``, ``preprocess``, ``network`` or ``postprocess``."""

    def batch(self, model: Model, size: int) -> None:
        """The network ran once on ``size`` pictures."""

    def turned_away(self, model: Model, why: str) -> None:
        """A picture was not answered: ``rejected`` at the door, ``expired`` or ``cancelled`` on its way."""
