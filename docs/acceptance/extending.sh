cd "$ROOT" && python -m pytest -q tests/toolkit/test_extending.py -p no:cacheprovider && grep -n "one file\|one line" tests/toolkit/test_extending.py
