# A detector's losses over 20 steps: one process with whole batches beside two with a share of each, whose pictures show
# unequally many things, or none. Pictures are drawn, start weights trained for it.
python "$ROOT/tests/two_processes.py" --steps 20 2> log.txt || { code=$?; tail -n 5 log.txt; exit $code; }
