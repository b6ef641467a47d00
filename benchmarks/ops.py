"""Every operator beside the peers that people use for the same work, with what was promised: met or missed.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.ops [--only SECTION[:WORD] ...] [--peers PYTHON]
        [--rounds 60] [--seconds 2.5] [--json FILE]

Install the peers that are no dependencies of ours (torchvision with its torch, connected-components-3d, hotcoco,
faster-coco-eval, ultrafast-pycocotools) into an environment of their own and name its Python by ``--peers``; a peer
that is missing is told so, and its bars as not measured. Without PASSIVE the threads of one library spin on the cores
in the next one's turn.
"""

from __future__ import annotations

from benchmarks import ops_boxes, ops_coco, ops_pictures, ops_volumes
from benchmarks.beside import main

SECTIONS = {**ops_pictures.SECTIONS, **ops_boxes.SECTIONS, **ops_coco.SECTIONS, **ops_volumes.SECTIONS}

if __name__ == "__main__":
    main(SECTIONS)
