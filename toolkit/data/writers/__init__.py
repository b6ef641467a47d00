"""Writes a table in the formats that the readers read, and those that other tools want. Nothing is read here."""

# By task and format. A new format is one file with a function `write(table, target) -> Written`, and one line here.
WRITERS: dict[str, dict[str, str]] = {
    "detection": {
        "coco": "toolkit.data.writers.coco:write",
        "voc": "toolkit.data.writers.voc:write",
        "yolo": "toolkit.data.writers.yolo:write",
        "labelme": "toolkit.data.writers.labelme:write",
    },
    "classification": {
        "folders": "toolkit.data.writers.folders:write",
        "csv": "toolkit.data.writers.csv_labels:write",
    },
    "segmentation": {
        "masks": "toolkit.data.writers.masks:write",
        "csv": "toolkit.data.writers.csv_masks:write",
    },
}

__all__ = ["WRITERS"]
