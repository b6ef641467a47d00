"""Say what a piece of garbage is made of, and find the pieces in a picture: python demos/sort_garbage.py bottle.jpg

Without a picture it takes the cardboard box of demos/pictures.
"""

import sys
from pathlib import Path

import toolkit

pictures = sys.argv[1:] or [str(Path(__file__).parent / "pictures" / "cardboard_box.jpg")]

# One thing that fills the picture: a probability for each material, and where the evidence lies.
classifier = toolkit.load("garbage_classification")
for result in classifier.predict(pictures, explain=True, on_error="raise"):
    print(result.summary())
    for label, probability in result.top(3):
        print(f"  {label} {probability:.2f}")
    result.save(f"material_{Path(result.source).stem}.jpg")  # the likeliest classes, and the evidence as a heat map

# Several things in one picture: boxes.
detector = toolkit.load("garbage_detection")
for result in detector.predict(pictures, on_error="raise"):
    print(result.summary())
    result.save(f"found_{Path(result.source).stem}.jpg")
