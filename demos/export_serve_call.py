"""Export a run or a shipped bundle, serve it, call it: python demos/export_serve_call.py mask_detection street.jpg"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import toolkit

if len(sys.argv) != 3:
    sys.exit(__doc__)
source, picture = sys.argv[1:]

with tempfile.TemporaryDirectory() as folder:
    bundle = toolkit.export(source, Path(folder) / "bundle")
    command = [sys.executable, "-m", "toolkit.cli.main", "serve", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        line = service.stdout.readline()  # one line, once pictures are taken: "serving ... at http://..."
        print(line.strip())
        address = next(word for word in line.split() if word.startswith("http://")).rstrip("/")
        request = urllib.request.Request(f"{address}/predict", Path(picture).read_bytes())
        request.add_header("Content-Type", "application/octet-stream")
        with urllib.request.urlopen(request, timeout=30) as answer:
            print(json.dumps(json.load(answer), indent=2))
        service.terminate()
