"""Ask a service as PaddleX 3's clients do: python demos/call_as_paddlex.py ADDRESS street.jpg seen.jpg

ADDRESS is that of `toolkit serve` with the route of its task, such as http://127.0.0.1:8000/object-detection.
"""

import base64
import json
import sys
import urllib.request
from pathlib import Path

if len(sys.argv) != 4:
    sys.exit(__doc__)
address, picture, drawn = sys.argv[1:]

question = {"image": base64.b64encode(Path(picture).read_bytes()).decode("ascii")}
request = urllib.request.Request(address, json.dumps(question).encode(), {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=30) as answer:
    result = json.load(answer)["result"]

Path(drawn).write_bytes(base64.b64decode(result.pop("image")))
print(json.dumps(result))
