cd "$ROOT" && python -m benchmarks.serve --rounds 3 --seconds 2
