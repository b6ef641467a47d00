"""Pictures of one class each, as the classification formats list them, made into samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.data.assemble import assemble
from toolkit.data.fault_log import FaultLog
from toolkit.data.listing import Entry, Listing, Settings
from toolkit.data.table import LabelSample, Table
from toolkit.errors import Fault


def label_table(
    listing: Listing[str], class_names: Sequence[str], settings: Settings, log: FaultLog
) -> Table[LabelSample]:
    """Build the table; ``labels`` of an entry is its class's name. A drawn split is balanced by class."""
    ids = {name: class_id for class_id, name in enumerate(class_names)}

    def measure(entry: Entry[str], size: tuple[int, int]) -> tuple[dict[str, Any] | None, list[Fault]]:
        # A class without an id is a fault of the whole set already.
        return ({"class_id": ids[entry.labels]} if entry.labels in ids else None), []

    return assemble(listing, class_names, LabelSample, measure, settings, log, stratum=lambda entry: entry.labels)
