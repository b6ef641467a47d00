# needs: DATA
toolkit evaluate ct_pneumonia --config "$ROOT/configs/recipes/ct_pneumonia.yaml" data.root="$DATA/ct_pneumonia" 'postprocess.presence={lesion: 0.24}' --changes --no-report
