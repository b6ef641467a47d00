# needs: DATA
toolkit crossval "$ROOT/configs/recipes/garbage_classification.yaml" data.root="$DATA/garbage_classification" data.splits="$DATA/splits/garbage_classification.csv" "data.extra=[$DATA/garbage_classification_extra]" model.init="$DATA/../weights/mobilenet_v2_imagenet.safetensors" --run-dir folds
