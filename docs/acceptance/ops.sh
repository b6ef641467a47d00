# PEERS: the Python of an environment with the peers that are no dependencies (benchmarks/ops.py names them)
cd "$ROOT" && OMP_WAIT_POLICY=PASSIVE python -m benchmarks.ops --seconds 1.5 ${PEERS:+--peers "$PEERS"}
