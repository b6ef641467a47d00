cd "$ROOT" && python -m pytest -q tests/toolkit/test_extending.py -p no:cacheprovider --durations=0 | grep -v "^$\|setup\|teardown"
