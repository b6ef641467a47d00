toolkit train "$ROOT/configs/mask_detection.yaml" data.root=masks train.epochs=2 train.validate_every=2 --run-dir run
ls run
