toolkit train "$ROOT/configs/quickstart.yaml" data.pictures=24 train.epochs=1 --run-dir run 2> /dev/null
rm -r run/bundle
echo '$ toolkit export run preprocess.color=rgb      # the network was trained on bgr'
toolkit export run preprocess.color=rgb
echo "(exit code $?)"; ls run/bundle 2>&1
