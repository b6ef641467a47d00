set -e
# A chest is drawn, with its volumes known, and written as a scanner would, names shuffled.
PYTHONPATH=$ROOT/tests python - <<'PY'
from pathlib import Path
from drawn_series import drawn_chest, write_nifti, write_series
chest = drawn_chest((80, 256, 256))
write_series(Path("series"), chest)
write_nifti(Path("chest.nii.gz"), chest, flips=(0, 2), axes=(2, 0, 1))
write_series(Path("gap"), chest, leave_out=(30,), tilt=12.0)
write_series(Path("mr"), chest, modality="MR")
for side in ("right", "left"):
    print(f"drawn: {side} lung {chest.ml(1, 2, side=side):.0f} ml, of it lesion {chest.ml(2, side=side):.0f} ml")
PY
(cd series && python -m zipfile -c ../series.zip .)
toolkit predict ct_pneumonia series --save out
toolkit predict ct_pneumonia series.zip
toolkit predict ct_pneumonia chest.nii.gz
toolkit predict ct_pneumonia gap --save out
toolkit predict ct_pneumonia mr || echo "exit code $?"
python - <<'PY'
import json
for name in ("series", "gap"):
    told = json.load(open(f"out/{name}.json"))
    for lung in told["lungs"]:
        print(f"{name}: {lung['side']} lung {lung['volume_ml']:.0f} ml, of it lesion {lung['lesion_ml']:.0f} ml")
    print(f"{name}: notes {told['notes']}, {told['disclaimer']}")
PY
ls out
toolkit serve ct_pneumonia --port 8765 --jobs jobs > serve.log 2>&1 &
trap "kill $!" EXIT
until curl -sf -o /dev/null localhost:8765/health/ready; do sleep 0.5; done
id=$(curl -s --data-binary @series.zip localhost:8765/jobs | python -c 'import json, sys; print(json.load(sys.stdin)["id"])')
curl -sN localhost:8765/jobs/$id/events | python -c '
import json, sys
seen = []
for line in sys.stdin:
    if line.startswith("data: "):
        stage = json.loads(line[6:])["stage"]
        seen += [stage] if stage not in seen else []
print("stages:", ", ".join(seen))'
curl -s localhost:8765/jobs/$id/results | python -c '
import json, sys
told = json.loads(sys.stdin.readline())
print("the job:", round(told["lung_ml"]), "ml, lesion share", round(told["lesion_share"], 3), told["disclaimer"])'
curl -s localhost:8765/jobs/$id/mask -o mask.nii.gz
python -c '
import nibabel, numpy as np
one, other = (np.asarray(nibabel.load(path).dataobj) for path in ("mask.nii.gz", "out/series.nii.gz"))
print("the masks of job and command line are equal:", np.array_equal(one, other), one.shape)'
