python "$ROOT/docs/acceptance/twins.py"
