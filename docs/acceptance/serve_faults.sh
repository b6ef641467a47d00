# A service under load for ten thousand mixed requests, swapped meanwhile: every answer right, nobody lost, flat memory.
cd "$ROOT" && python docs/acceptance/serve_faults.py --requests 10000
