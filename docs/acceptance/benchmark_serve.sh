python -m venv ours && ours/bin/python -m pip install -qq "$ROOT" && export SERVE_OURS="$PWD/ours/bin/python"
cd "$ROOT" && python -m benchmarks.serve --rounds 3 --seconds 2
