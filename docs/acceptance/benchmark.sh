cd "$ROOT" && python -m benchmarks.predict
