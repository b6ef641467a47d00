# needs: DATA
toolkit crossval "$ROOT/configs/recipes/ct_pneumonia.yaml" data.root="$DATA/ct_pneumonia" model.init="$DATA/../weights/mobilenet_v2_imagenet.safetensors" --run-dir folds
