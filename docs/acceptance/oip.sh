cd "$ROOT" && python -m benchmarks.oip
