"""Run the commands that show what is promised and write what they printed beside this file.

    python docs/acceptance/record.py [NAME ...]        (all, without a name)

Each NAME.txt holds the command, what it printed (both streams), its exit code and its duration. Commands that need the
training pictures read their folder from $DATA and are left out, and said so, where that is not set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

MAKE_INPUTS = r"""
set -e
python - <<'PY'
import json, shutil
from pathlib import Path
import numpy as np
from PIL import Image
from toolkit.data.shapes import draw_set
Image.fromarray(np.full((40, 50, 3), 128, np.uint8)).save("good.jpg")
good = Path("good.jpg").read_bytes()
Path("broken.jpg").write_bytes(good[: len(good) // 2])
Path("empty.jpg").write_bytes(b"")
Path("text.jpg").write_text("this is no picture")
Image.new("1", (20000, 20000)).save("huge.png")
head = "name: x\ntask: detection\n"
Path("unknown_key.yaml").write_text(head + "data: {format: shapes}\nmodel:\n  nmae: yolox_nano\n")
Path("wrong_type.yaml").write_text(head + "data: {format: shapes}\nmodel: {name: yolox_nano}\ntrain:\n  epochs: ten\n")
Path("empty.yaml").write_text(head + "data: {format: coco, root: none}\nmodel: {name: yolox_nano}\n")
Path("none/images").mkdir(parents=True)
Path("none/annotations.json").write_text('{"images": [], "annotations": [], "categories": []}')
draw_set(Path("masks"), pictures=40, size=(160, 160), val_fraction=0.2, seed=0)
file = Path("masks/annotations.json")
table = json.loads(file.read_text())
for category, name in zip(table["categories"], ("with_mask", "without_mask", "mask_worn_incorrectly")):
    category["name"] = name
file.write_text(json.dumps(table))
Path("classes.yaml").write_text(
    head + "data: {format: coco, root: masks, classes: [with_masks, without_mask, mask_worn_incorrectly]}\n"
    "model: {name: yolox_nano}\n")
PY
toolkit export mask_detection --to tampered > /dev/null
printf x >> tampered/model.onnx
"""

SENTENCES = r"""
for command in \
    "train unknown_key.yaml" \
    "train quickstart trian.epochs=5" \
    "train wrong_type.yaml" \
    "train nowhere.yaml" \
    "train mask_detection" \
    "train empty.yaml" \
    "train classes.yaml" \
    "predict mask_detection broken.jpg" \
    "predict mask_detection empty.jpg" \
    "predict mask_detection text.jpg" \
    "predict mask_detection huge.png" \
    "predict mask_detection nowhere.jpg" \
    "predict mask_detecton good.jpg" \
    "predict tampered good.jpg"
do
    echo "$ toolkit $command"; toolkit $command; echo "(exit code $?)"
done
echo '$ toolkit serve mask_detection --port 8765   # while another program listens there'
python -m http.server 8765 --bind 127.0.0.1 > /dev/null 2>&1 & sleep 1
toolkit serve mask_detection --port 8765; echo "(exit code $?)"
kill %1
"""

IMPORTS = r"""
python -X importtime -c 'import toolkit' 2> times.txt
echo "the dearest imports of 'import toolkit' (microseconds: self | cumulative | module):"
sort -t'|' -k2 -n times.txt | tail -6
echo "of torch, lightning, albumentations, cv2, onnxruntime: $(grep -cE ' (torch|lightning|albumentations|cv2|onnxruntime)$' times.txt) imported"
toolkit --help > /dev/null
for turn in 1 2 3; do /usr/bin/env bash -c 'TIMEFORMAT="toolkit --help: %R s"; time toolkit --help > /dev/null'; done
"""

COLOURS = r"""
toolkit train "$ROOT/configs/quickstart.yaml" data.pictures=24 train.epochs=1 --run-dir run 2> /dev/null
rm -r run/bundle
echo '$ toolkit export run preprocess.color=rgb      # the network was trained on bgr'
toolkit export run preprocess.color=rgb
echo "(exit code $?)"; ls run/bundle 2>&1
"""

WITHOUT_TORCH = r"""
"$ROOT/.venv-base/bin/python" -c 'import torch' 2>&1 | tail -1
P=$("$ROOT/.venv/bin/python" -c 'from toolkit.demo import sample_photo; print(sample_photo())'); cp "$P" portrait.jpg
echo '$ toolkit predict mask_detection portrait.jpg'
"$ROOT/.venv-base/bin/toolkit" predict mask_detection portrait.jpg
"$ROOT/.venv-base/bin/toolkit" serve mask_detection --port 8766 > log.txt & sleep 8; cat log.txt
echo '$ curl --data-binary @portrait.jpg http://127.0.0.1:8766/predict'
"$ROOT/.venv-base/bin/python" -c 'import urllib.request as r; print(r.urlopen(r.Request("http://127.0.0.1:8766/predict", open("portrait.jpg", "rb").read())).read().decode())'
kill %1; wait %1; echo "(service stopped, exit code $?)"
"""

# name: (what it needs, commands)
RECORDS = {
    "evaluate": (
        "DATA",
        'cp "$ROOT/zoo/bundles/mask_detection/metrics.json" shipped.json\n'
        'toolkit evaluate mask_detection data.root="$DATA/mask_detection" data.splits="$DATA/splits/mask_detection.csv"\n'
        'toolkit evaluate mask_detection data.root="$DATA/mask_detection" data.splits="$DATA/splits/mask_detection.csv"'
        " --json > now.json\n"
        "cmp shipped.json now.json && echo 'the same as the shipped metrics.json, byte for byte'",
    ),
    "train_from_bundle": (
        "",
        'toolkit train "$ROOT/configs/mask_detection.yaml" data.root=masks train.epochs=2 train.validate_every=2'
        " --run-dir run\nls run",
    ),
    "imports": ("", IMPORTS),
    "without_torch": ("", WITHOUT_TORCH),
    "colour_order": ("", COLOURS),
    "sentences": ("", SENTENCES),
    "benchmark": ("", 'cd "$ROOT" && python -m benchmarks.predict'),
    "data_check": (
        "DATA",
        'toolkit data check "$ROOT/configs/recipes/mask_detection.yaml" data.root="$DATA/mask_detection"'
        ' data.splits="$DATA/splits/mask_detection.csv"',
    ),
}


def record(name: str) -> None:
    needs, commands = RECORDS[name]
    if needs and needs not in os.environ:
        print(f"{name}: left out, ${needs} is not set")
        return
    folder = Path(tempfile.mkdtemp())
    environment = {
        **os.environ, "ROOT": str(ROOT), "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}", "COLUMNS": "120",
    }  # fmt: skip
    subprocess.run(["bash", "-c", MAKE_INPUTS], cwd=folder, env=environment, check=True)
    started = time.perf_counter()
    done = subprocess.run(
        ["bash", "-c", commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    text = done.stdout
    for path, shown in ((os.environ.get("DATA", "\0"), "$DATA"), (str(ROOT), "."), (str(folder), ".")):
        text = text.replace(path, shown)
    header = "\n".join(f"$ {line}" if line.strip() else "" for line in commands.strip().splitlines())
    (HERE / f"{name}.txt").write_text(f"{header}\n\n{text}\nexit code {done.returncode}, {seconds:.1f} s\n")
    print(f"{name}: exit code {done.returncode}, {seconds:.1f} s")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RECORDS:
        record(wanted)
