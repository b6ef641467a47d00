"""Data sets: each format is read into one checked in-memory table that training, evaluation and checks share.

Nothing here imports torch: a table is paths, labels and names.
"""

from toolkit.data.table import READERS, BoxSample, LabelSample, MaskSample, Progress, Sample, Table, load_table

__all__ = ["READERS", "BoxSample", "LabelSample", "MaskSample", "Progress", "Sample", "Table", "load_table"]
