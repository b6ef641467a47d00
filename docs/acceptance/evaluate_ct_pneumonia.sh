# needs: DATA
cp "$ROOT/zoo/bundles/ct_pneumonia/metrics.json" shipped.json
toolkit evaluate ct_pneumonia data.root="$DATA/ct_pneumonia"
toolkit evaluate ct_pneumonia data.root="$DATA/ct_pneumonia" --json > now.json
cmp shipped.json now.json && echo 'the same as the shipped metrics.json, byte for byte'
ls -l "$ROOT/zoo/bundles/ct_pneumonia" | awk '{print $5, $9}'
