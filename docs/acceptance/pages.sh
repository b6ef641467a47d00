python "$ROOT/docs/acceptance/pages.py" pages "garbage_classification=$ROOT/demos/pictures/cardboard_box.jpg" "garbage_detection=$ROOT/demos/pictures/cardboard_box.jpg" "ct_pneumonia=$ROOT/demos/pictures/chest_slice.png"
cp pages/*.png "$ROOT/docs/pictures/"; ls pages
