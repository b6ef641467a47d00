# needs: DATA
cd "$ROOT" && python -m benchmarks.train --data "$DATA" --rounds 3 --epochs 3 --pictures 240
