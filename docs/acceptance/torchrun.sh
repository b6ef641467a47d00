# Two processes of one training: started by the toolkit, by torchrun, and by torchrun on two machines (here two folders
# of one machine, each with its own pictures); then what stops such a training, and going on.
export OMP_NUM_THREADS=1
cat > short.yaml <<'YAML'
name: short
task: classification
data: {format: shapes, root: shapes, pictures: 61, size: [96, 96]}
model: {name: mobilenet_v2, width: 0.25, input_size: [64, 64]}
train: {epochs: 3, batch_size: 8, device: cpu, threads: 1, precision: fp32}
YAML
run() { echo "\$ $*"; "$@"; echo "(exit code $?)"; echo; }
# a training in the background, as a terminal would start it, until it is in its third epoch
begin() { echo "\$ $* &"; set -m; "$@" & set +m; until grep -qs "epoch 2/" lost/train.log; do sleep 0.05; done; }
ended() { wait %%; echo "(exit code $?)"; echo; rm -r lost; }
# what the training says, without what torchrun adds
said() { "$@" 2>&1 | grep -aE "^error|^[0-9:]{8} "; return ${PIPESTATUS[0]}; }
# the second process of the training that was begun last, whose first one, or torchrun, is process $1
kill_second() { echo "\$ kill -KILL (process 2)"; kill -KILL $(pgrep -P $1 | tail -n 1); }

echo "# 1. one command on one machine"
run toolkit train short.yaml train.devices=2 --run-dir alone

echo "# 2. torchrun on one machine: the same weights"
run torchrun --nproc-per-node 2 -m toolkit train short.yaml train.devices=2 --run-dir started
toolkit runs diff alone started | head -n 1; echo

echo "# 3. torchrun on two machines: the same command on both but for --node-rank, and the same weights; the first has the run"
mkdir one two; cp short.yaml one; cp short.yaml two
machine() { (cd $1; said torchrun --nnodes 2 --node-rank $2 --nproc-per-node 1 --master-addr 127.0.0.1 --master-port 29511 \
  -m toolkit train short.yaml train.num_nodes=2 --run-dir run | sed "s/^/machine $1: /"; exit ${PIPESTATUS[0]}); }
machine two 1 & machine one 0; wait; ls two
toolkit runs diff alone one/run | head -n 1; echo

echo "# 4. what does not fit together is told before anything starts"
run toolkit train short.yaml train.devices=3
run toolkit train short.yaml train.num_nodes=2
run said torchrun --nproc-per-node 2 -m toolkit train short.yaml
echo "two machines with other pictures:"
python -c "from PIL import Image; Image.new('RGB', (96, 96)).save('two/shapes/circle/00003.jpg')"
rm -r one/run; machine two 1 & machine one 0; wait; echo

echo "# 5. a process is killed"
begin toolkit train short.yaml train.devices=2 train.epochs=30 --run-dir lost; kill_second $!; ended
begin said torchrun --nproc-per-node 2 -m toolkit train short.yaml train.devices=2 train.epochs=30 --run-dir lost
kill_second $(pgrep -P $! -f torchrun); ended

echo "# 6. Ctrl-C, and going on: the same weights as without"
begin toolkit train short.yaml train.devices=2 --run-dir lost; kill -INT %%; wait %%; echo "(exit code $?)"; echo
run toolkit train --resume lost
toolkit runs diff alone lost | head -n 1; echo; rm -r lost

echo "# 7. a mistake that one process comes to: a picture of its share breaks"
begin toolkit train short.yaml train.devices=2 train.epochs=30 train.validate_every=30 data.cache_mb=0 --run-dir lost
picture=$(grep ,train, lost/data.csv | head -n 1 | cut -d, -f1); truncate -s 300 shapes/$picture; ended; rm -r shapes

echo "# 8. a loss that is not a number: each process leaves its share of the step"
run toolkit train short.yaml train.devices=2 'train.optimizer={name: sgd, lr: 1e30}' train.warmup_epochs=0 --run-dir lost
ls lost/faults
