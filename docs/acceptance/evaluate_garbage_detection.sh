# needs: DATA
cp "$ROOT/zoo/bundles/garbage_detection/metrics.json" shipped.json
toolkit evaluate garbage_detection data.root="$DATA" data.splits="$DATA/splits/garbage_detection.csv" "data.extra=[$ROOT/configs/recipes/garbage_detection_boxes.json]"
toolkit evaluate garbage_detection data.root="$DATA" data.splits="$DATA/splits/garbage_detection.csv" "data.extra=[$ROOT/configs/recipes/garbage_detection_boxes.json]" --json > now.json
cmp shipped.json now.json && echo 'the same as the shipped metrics.json, byte for byte'
ls -l "$ROOT/zoo/bundles/garbage_detection" | awk '{print $5, $9}'
