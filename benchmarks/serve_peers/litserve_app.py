"""LitServe: python litserve_app.py PORT, with PEER_WORKERS, PEER_THREADS and PEER_BATCH.

As its documentation has it for throughput on CPUs: a worker a core, its fast (ZeroMQ) queue, no access log, batches of
PEER_BATCH where that is over 1. The body comes as raw bytes: its JSON with base64 and its forms cost more.
"""

import os
import sys
from typing import Annotated

import litserve
import numpy as np
from fastapi import Body
from work import PlainClassifier

WORKERS, BATCH = int(os.environ["PEER_WORKERS"]), int(os.environ["PEER_BATCH"])


class Classifier(litserve.LitAPI):
    def setup(self, device):
        self.classifier = PlainClassifier(int(os.environ["PEER_THREADS"]))

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]):
        return self.classifier.prepare(request)

    def predict(self, x):
        return self.classifier.network(x[None])[0]

    def encode_response(self, output):
        return self.classifier.answer(output)


class Batched(Classifier):
    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, x):
        return self.classifier.network(x)

    def unbatch(self, output):
        return list(output)


if __name__ == "__main__":
    api = Batched(max_batch_size=BATCH, batch_timeout=0.005) if BATCH > 1 else Classifier()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, fast_queue=True)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False,
        access_log=False,
    )  # fmt: skip
