"""Data sets: each format is read into one checked in-memory table that training, evaluation and checks share.

Nothing here imports torch: a table is paths, boxes and names.
"""

from toolkit.data.table import READERS, Progress, Sample, Table, load_table

__all__ = ["READERS", "Progress", "Sample", "Table", "load_table"]
