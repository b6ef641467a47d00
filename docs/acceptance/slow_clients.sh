python "$ROOT/docs/acceptance/slow_clients.py" garbage_classification "$ROOT/demos/pictures/cardboard_box.jpg"
