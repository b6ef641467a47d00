# needs: DATA
cp "$ROOT/zoo/bundles/mask_detection/metrics.json" shipped.json
toolkit evaluate mask_detection data.root="$DATA/mask_detection" data.splits="$DATA/splits/mask_detection.csv"
toolkit evaluate mask_detection data.root="$DATA/mask_detection" data.splits="$DATA/splits/mask_detection.csv" --json > now.json
cmp shipped.json now.json && echo 'the same as the shipped metrics.json, byte for byte'
