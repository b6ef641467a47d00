mkfifo line; toolkit serve garbage_detection --port 0 --jobs jobs > line 2> log & read -r said < line; url=$(echo "$said" | grep -o 'http://[^ ]*'); echo "$said"
box="$ROOT/demos/pictures/cardboard_box.jpg"
cat > triton.py <<'PY'
import itertools, sys
import numpy as np
import tritonclient.http as triton
from importlib import metadata
client = triton.InferenceServerClient(sys.argv[1])
print("tritonclient", metadata.version("tritonclient"), "live", client.is_server_live(), "ready", client.is_server_ready())
print(client.get_server_metadata())
about = client.get_model_metadata("garbage_detection")
print(*(f"{each['name']} {each['datatype']} {each['shape']}" for each in about["inputs"] + about["outputs"]), sep="; ")
import base64
data, told = open(sys.argv[2], "rb").read(), set()
for sent, wanted, packed, unpacked in itertools.product((True, False), (True, False), *[(None, "gzip", "deflate")] * 2):
    picture = triton.InferInput("encoded_image", [1], "BYTES")
    picture.set_data_from_numpy(np.array([data if sent else base64.b64encode(data)], object), binary_data=sent)
    outputs = [triton.InferRequestedOutput(name, binary_data=wanted) for name in ("boxes", "scores", "labels")]
    answer = client.infer("garbage_detection", [picture], outputs=outputs, request_compression_algorithm=packed, response_compression_algorithm=unpacked)
    labels = [each.decode() if isinstance(each, bytes) else each for each in answer.as_numpy("labels")]
    told.add(str((answer.as_numpy("boxes").round(1).tolist(), answer.as_numpy("scores").round(3).tolist(), labels)))
print("36 ways to ask, different answers:", len(told), *told)
try:
    client.infer("other", [picture])
except triton.InferenceServerException as error:
    print(error)
PY
python triton.py "$(echo "$url" | sed 's#http://##; s#/$##')" "$box"
echo "# PaddleX 3"; python "$ROOT/demos/call_as_paddlex.py" "${url}object-detection" "$box" seen.jpg; file seen.jpg 2> /dev/null || ls seen.jpg
echo "# JSON, and a batch in which one is broken"
python -c 'import base64, json, sys; print(json.dumps({"image": base64.b64encode(open(sys.argv[1], "rb").read()).decode(), "name": "box"}))' "$box" > box.json
curl --silent --noproxy '*' -H 'Content-Type: application/json' --data @box.json "${url}predict"; echo
curl --silent --noproxy '*' -F "file=@$box" -F file=@broken.jpg "${url}predict/batch"; echo
echo "# frames over a WebSocket: in time, and too late"
python - "$url" "$box" <<'PY'
import json, sys, time
from websockets.sync.client import connect
data = open(sys.argv[2], "rb").read()
with connect(sys.argv[1].replace("http", "ws") + "stream?budget_ms=5000", proxy=None) as stream:
    for note in ({"id": "now"}, {"id": "old", "captured": time.time() - 10}):
        stream.send(json.dumps(note)); stream.send(data)
        told = json.loads(stream.recv()); print({key: told[key]["labels"] if key == "result" else told[key] for key in told})
PY
echo "# a job: a zip of pictures"
python -c 'import sys, zipfile; z = zipfile.ZipFile("album.zip", "w"); [z.write(sys.argv[1], f"{i}.jpg") for i in range(20)]; z.write("broken.jpg")' "$box"
job=$(curl --silent --noproxy '*' --data-binary @album.zip "${url}jobs" | python -c 'import json, sys; print(json.load(sys.stdin)["id"])')
curl --silent --noproxy '*' --no-buffer "${url}jobs/$job/events" | grep -v '^$' | cut -c1-170 | tail -n 4
curl --silent --noproxy '*' "${url}jobs/$job/results" | cut -c1-150 | sed -n '1p;$p'
kill %1; wait %1; echo "exit code $?"
