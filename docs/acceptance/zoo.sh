toolkit zoo
toolkit zoo ct_pneumonia
toolkit zoo mask_detecton; echo "exit code $?"
toolkit zoo --json | python -c 'import json, sys; [print(b["name"], b["bytes"], b["numbers"]) for b in json.load(sys.stdin)]'
P=$(python -c 'from toolkit.demo import sample_photo; print(sample_photo())')
toolkit benchmark predict mask_detection "$P"
sed -n '/^## Calibration/,/^## Parity/p' "$ROOT/zoo/bundles/mask_detection/MODEL_CARD.md"
