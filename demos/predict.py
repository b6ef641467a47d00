"""Predict in one line, then on many pictures: python demos/predict.py street.jpg album/"""

import sys

import toolkit

inputs = sys.argv[1:] or sys.exit(__doc__)

# One line, one picture: a result with boxes, scores and labels.
result = toolkit.predict("mask_detection", inputs[0])
print(result.summary())
for box, score, label in zip(result.boxes, result.scores, result.labels, strict=True):
    print(f"  {label} {score:.2f} at {box.round().astype(int).tolist()}")
result.save("seen.jpg")

# Many pictures: load the model once; folders, patterns and videos are expanded, decoding runs ahead.
model = toolkit.load("mask_detection")
for result in model.predict(inputs, batch_size=8, score_threshold=0.5):
    print(result.summary())  # one that could not be read says so, and the others go on
