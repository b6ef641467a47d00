"$ROOT/.venv-base/bin/python" -c 'import torch' 2>&1 | tail -1
P=$("$ROOT/.venv/bin/python" -c 'from toolkit.demo import sample_photo; print(sample_photo())'); cp "$P" portrait.jpg
echo '$ toolkit predict mask_detection portrait.jpg'
"$ROOT/.venv-base/bin/toolkit" predict mask_detection portrait.jpg
"$ROOT/.venv-base/bin/toolkit" serve mask_detection --port 8766 > log.txt & sleep 8; cat log.txt
echo '$ curl --data-binary @portrait.jpg http://127.0.0.1:8766/predict'
"$ROOT/.venv-base/bin/python" -c 'import urllib.request as r; print(r.urlopen(r.Request("http://127.0.0.1:8766/predict", open("portrait.jpg", "rb").read())).read().decode())'
kill %1; wait %1; echo "(service stopped, exit code $?)"
