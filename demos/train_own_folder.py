"""Train on one's own pictures: python demos/train_own_folder.py FOLDER [KEY=VALUE ...]

FOLDER holds annotations.json (boxes in COCO's format) and images/. Settings such as train.epochs=5 may follow.
"""

import sys

import yaml

import toolkit

if len(sys.argv) < 2:
    sys.exit(__doc__)
folder, *settings = sys.argv[1:]
overrides = {key: yaml.safe_load(value) for key, value in (setting.split("=", 1) for setting in settings)}

run = toolkit.train("configs/mask_detection.yaml", **{"data.root": folder, **overrides})
metrics = toolkit.evaluate(run)
print(f"AP50 {metrics['coco']['AP50']:.3f} on {metrics['data']['pictures']} validation pictures; look into {run}")
print(f"bundle: {toolkit.export(run, 'bundle')}")
