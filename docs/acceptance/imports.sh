python -X importtime -c 'import toolkit' 2> times.txt
echo "the dearest imports of 'import toolkit' (microseconds: self | cumulative | module):"
sort -t'|' -k2 -n times.txt | tail -6
echo "of torch, lightning, albumentations, cv2, onnxruntime: $(grep -cE ' (torch|lightning|albumentations|cv2|onnxruntime)$' times.txt) imported"
toolkit --help > /dev/null
for turn in 1 2 3; do /usr/bin/env bash -c 'TIMEFORMAT="toolkit --help: %R s"; time toolkit --help > /dev/null'; done
