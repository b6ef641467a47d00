"""Measure lung and pneumonia lesions in CT slices: python demos/measure_pneumonia.py slice.png more/

Without a picture it takes the drawn slice of demos/pictures. For research, not for clinical use.
"""

import sys
from pathlib import Path

import toolkit

pictures = sys.argv[1:] or [str(Path(__file__).parent / "pictures" / "chest_slice.png")]

model = toolkit.load("ct_pneumonia")
lung = lesion = 0
for result in model.predict(pictures, on_error="raise"):
    areas = result.areas()  # pixels of each class
    lung += areas["lung"] + areas["lesion"]  # a lesion is part of the lung
    lesion += areas["lesion"]
    print(result.summary())
    stem = Path(result.source).stem
    result.save(f"measured_{stem}.jpg")  # outlines and a legend
    result.save_mask(f"mask_{stem}.png")  # the class of every pixel: 0 background, 1 lung, 2 lesion

share = f"{100 * lesion / lung:.1f} %" if lung else "no lung found"
print(f"lesions take this share of the lung, over all slices: {share}")
