# One seed, one hash: the same weights with 0, 1 and 2 loader workers, for each task. Everything drawn by chance is on.
cat > all.yaml <<'YAML'
name: all
task: detection
data: {format: shapes, root: shapes, pictures: 24, size: [96, 128]}
model: {name: yolox_nano, input_size: [64, 96]}
augment:
  mosaic: {probability: 0.5, off_epochs: 1}
  albumentations: [{HorizontalFlip: {p: 0.5}}, {ColorJitter: {p: 0.5}}]
train: {epochs: 2, batch_size: 4, validate_every: 1, device: cpu, precision: fp32}
YAML
sed -e 's/detection/classification/; s/name: yolox_nano,/name: mobilenet_v2, dropout: 0.2,/; s/mosaic.*/mixup: {probability: 0.5}/' all.yaml > classification.yaml
sed -e 's/detection/segmentation/; s/yolox_nano/unet/; s/mosaic.*/crop_to_labels: {probability: 0.5}/' all.yaml > segmentation.yaml
mv all.yaml detection.yaml
for task in detection classification segmentation; do
  for workers in 0 1 2; do
    toolkit train $task.yaml data.workers=$workers --run-dir runs/$task-$workers 2>log.txt || tail -3 log.txt
  done
  toolkit runs diff runs/$task-0 runs/$task-1 | head -n 1
  toolkit runs diff runs/$task-0 runs/$task-2 | head -n 1
done
toolkit train detection.yaml seed=1 --run-dir runs/detection-other 2>log.txt
toolkit runs diff runs/detection-0 runs/detection-other | head -n 1
toolkit runs list
