# A training killed at 20 random steps: each resumed run ends bit-equal.
cd "$ROOT" && python docs/acceptance/kill_and_resume.py --kills 20
