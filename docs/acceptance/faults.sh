# Each fault of a training as a user meets it, on drawn pictures, through the command line.
cat > short.yaml <<'YAML'
name: short
task: classification
data: {format: shapes, root: shapes, pictures: 60, size: [96, 96]}
model: {name: mobilenet_v2, width: 0.25, input_size: [64, 64]}
train: {epochs: 6, batch_size: 8, device: cpu, precision: fp32}
YAML
run() { echo "\$ $*"; "$@"; echo "(exit code $?)"; echo; }
# starts a training in the background, as a terminal would, and waits until its log has a word
begin() { echo "\$ toolkit train $* &"; set -m; toolkit train "$@" & set +m; until grep -qs "epoch 2/" run_*/train.log; do sleep 0.1; done; }
ended() { wait %%; echo "(exit code $?)"; echo; }

echo "# 1. a loss that is not a number"
run toolkit train short.yaml 'train.optimizer={name: sgd, lr: 1e30}' train.warmup_epochs=0 --run-dir nan
run python -m toolkit.training.repro nan/faults/nan_step_2.pt | grep -v "^picture"

echo "# 2. a disk of 10 MB that fills up while a resume point is written; the one before is whole"
mkdir disk
run unshare -rm bash -c 'mount -t tmpfs -o size=10m tmpfs disk && toolkit train short.yaml --run-dir disk/run
ls disk/run/checkpoints; python -c "import torch; print(\"the resume point is of step\", torch.load(\"disk/run/checkpoints/last.ckpt\", weights_only=True)[\"global_step\"])"; false'

echo "# 3. Ctrl-C, and going on: the same weights as of a run that nobody stopped"
begin short.yaml --run-dir run_stopped; kill -INT %%; ended; 
run toolkit train --resume run_stopped 2>&1 | tail -n 4
toolkit train short.yaml --run-dir whole 2> /dev/null
run toolkit runs diff whole run_stopped
rm -r run_stopped

echo "# 4. SIGTERM to all processes of a training with loader workers"
begin short.yaml train.epochs=500 data.workers=2 --run-dir run_term; kill -TERM -- -$!; ended
rm -r run_term

echo "# 5. a loader worker that is killed"
begin short.yaml train.epochs=500 data.workers=2 --run-dir run_worker; kill -KILL $(pgrep -n -g $!); ended
rm -r run_worker

echo "# 6. a picture that breaks while the training goes on, in a loader worker"
begin short.yaml train.epochs=500 data.workers=1 data.cache_mb=0 --run-dir run_broken
for picture in shapes/*/*.jpg; do truncate -s 300 $picture; done; ended
rm -r run_broken shapes

echo "# 7. a process that may have 10 GB of memory"
(ulimit -v 10000000; run toolkit train short.yaml train.batch_size=40 'model.input_size=[2048, 2048]' --run-dir memory)
(ulimit -v 10000000; run toolkit train short.yaml train.batch_size=48 'model.input_size=[4096, 4096]' --run-dir loading)
