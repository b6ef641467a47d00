mkdir formats; cd formats
python - <<'PY'
from pathlib import Path
import numpy as np
from PIL import Image
from toolkit.data.shapes import draw_set
def picture(path, size=(60, 80), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if mode == "RGB" else size
    Image.fromarray(np.random.default_rng(len(str(path))).integers(0, 256, shape, np.uint8)).save(path)
box = "<object><name>cat</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"
for i, name in enumerate(("一只 猫", "b", "c", "d")):
    picture(Path(f"voc/JPEGImages/{name}.jpg"), (60, 80 + i)); picture(Path(f"yolo/images/{name}.jpg"), (60, 80 + i))
    Path("voc/Annotations").mkdir(exist_ok=True); Path("yolo/labels").mkdir(exist_ok=True)
    Path(f"voc/Annotations/{name}.xml").write_text(f"<annotation>{box}</annotation>", encoding="utf-8")
    Path(f"yolo/labels/{name}.txt").write_text("0 0.5 0.5 0.2 0.2\r\n", encoding="utf-8")
    picture(Path(f"folders/cat/{name}.jpg"), (60, 80 + i)); picture(Path(f"folders/dog/{name}.jpg"), (60, 90 + i))
    picture(Path(f"masks/images/{name}.jpg"), (60, 80 + i))
    Path("masks/masks").mkdir(exist_ok=True)
    Image.fromarray(np.full((60, 80 + i), i % 2, np.uint8)).save(f"masks/masks/{name}.png")
Path("voc/Annotations/b.xml").write_text(f"<annotation>{box}"[:60])
Path("voc/Annotations/c.xml").unlink()
Path("yolo/classes.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n")
Path("yolo/labels/b.txt").write_text("0 0.5 0.5 0.2\n0 0.5 0.5 0.2 1.7\n7 0.5 0.5 0.2 0.2\n")
Path("folders/bird").mkdir()
Path("folders/dog/note.heic").write_bytes(b"?")
Image.fromarray(np.zeros((60, 70), np.uint8)).save("masks/masks/b.png")
Image.fromarray(np.full((60, 82), 9, np.uint8)).save("masks/masks/c.png")
Image.fromarray(np.zeros((60, 83, 3), np.uint8)).save("masks/masks/d.png")
Path("folders/headless.csv").write_text("cat/b.jpg,cat\ncat/c.jpg,cat\n")
for name, task, model in (("voc", "detection", "yolox_nano"), ("yolo", "detection", "yolox_nano"),
                          ("folders", "classification", "mobilenet_v2"), ("masks", "segmentation", "unet")):
    more = ", classes: [background, thing]" if name == "masks" else ""
    Path(f"{name}.yaml").write_text(
        f"name: x\ntask: {task}\ndata: {{format: {name}, root: {name}{more}}}\nmodel: {{name: {model}}}\n")
Path("csv.yaml").write_text("name: x\ntask: classification\ndata: {format: csv, root: folders, index: headless.csv}\n"
                            "model: {name: mobilenet_v2}\n")
PY
for name in voc yolo folders csv masks
do
    echo "\$ toolkit data check $name.yaml"; toolkit data check $name.yaml; echo "(exit code $?)"
done
