"""Evaluation of detections against true boxes. Needs the ``[train]`` extra (pycocotools)."""
