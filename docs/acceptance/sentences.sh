for command in \
    "train unknown_key.yaml" \
    "train quickstart trian.epochs=5" \
    "train wrong_type.yaml" \
    "train nowhere.yaml" \
    "train mask_detection" \
    "train empty.yaml" \
    "train classes.yaml" \
    "predict mask_detection broken.jpg" \
    "predict mask_detection empty.jpg" \
    "predict mask_detection text.jpg" \
    "predict mask_detection huge.png" \
    "predict mask_detection nowhere.jpg" \
    "predict mask_detecton good.jpg" \
    "predict tampered good.jpg"
do
    echo "$ toolkit $command"; toolkit $command; echo "(exit code $?)"
done
echo '$ toolkit serve mask_detection --port 8765   # while another program listens there'
python -m http.server 8765 --bind 127.0.0.1 > /dev/null 2>&1 & sleep 1
toolkit serve mask_detection --port 8765; echo "(exit code $?)"
kill %1
