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
