python - <<'PY'
import sys
from pathlib import Path
sys.path.insert(0, ".")
from toolkit.data.shapes import draw_set
draw_set(Path("things"), kind="labels", pictures=40, size=(160, 160), val_fraction=0.25, seed=0)
draw_set(Path("scenes"), kind="masks", pictures=30, size=(160, 160), val_fraction=0.25, seed=0)
PY
echo "# classification and segmentation: train on drawn pictures, from the shipped bundles' weights"
toolkit train "$ROOT/configs/classification.yaml" data.root=things train.epochs=2 'model.input_size=[96,96]' --run-dir run_things 2>&1 | tail -4
toolkit train "$ROOT/configs/segmentation.yaml" data.root=scenes "data.classes=[background,circle,square,triangle]" train.epochs=2 'model.input_size=[96,96]' --run-dir run_scenes 2>&1 | tail -4
ls run_things run_scenes
python -c 'import json; [print(r, {k: json.load(open(f"{r}/bundle/parity.json"))[k] for k in ("passed", "pictures", "largest_difference")}) for r in ("run_things", "run_scenes")]'
echo "# predict and serve where torch is not installed"
"$ROOT/.venv-base/bin/python" -c 'import torch' 2>&1 | tail -1
for pair in "garbage_classification cardboard_box.jpg" "garbage_detection cardboard_box.jpg" "ct_pneumonia chest_slice.png"
do
    set -- $pair
    echo "\$ toolkit predict $1 $2 --save out"
    "$ROOT/.venv-base/bin/toolkit" predict $1 "$ROOT/demos/pictures/$2" --save out
    "$ROOT/.venv-base/bin/toolkit" serve $1 --port 8767 > log.txt & sleep 8; cat log.txt
    echo "\$ curl --data-binary @$2 http://127.0.0.1:8767/predict"
    "$ROOT/.venv-base/bin/python" -c 'import sys, urllib.request as r; print(r.urlopen(r.Request("http://127.0.0.1:8767/predict", open(sys.argv[1], "rb").read())).read().decode()[:700])' "$ROOT/demos/pictures/$2"
    kill %%; wait %%; echo "(service stopped, exit code $?)"
done
ls out
