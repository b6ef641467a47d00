# needs: DATA
cp "$ROOT/zoo/bundles/garbage_classification/metrics.json" shipped.json
toolkit evaluate garbage_classification data.root="$DATA/garbage_classification" data.splits="$DATA/splits/garbage_classification.csv" "data.extra=[$DATA/garbage_classification_extra]"
toolkit evaluate garbage_classification data.root="$DATA/garbage_classification" data.splits="$DATA/splits/garbage_classification.csv" "data.extra=[$DATA/garbage_classification_extra]" --json > now.json
cmp shipped.json now.json && echo 'the same as the shipped metrics.json, byte for byte'
ls -l "$ROOT/zoo/bundles/garbage_classification" | awk '{print $5, $9}'
