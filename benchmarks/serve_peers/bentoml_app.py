"""BentoML: bentoml serve bentoml_app:Classifier --port PORT, with PEER_WORKERS and PEER_THREADS.

As its documentation has it: a worker a core, the picture as the whole body (a root input), metrics and the access log
off. Its adaptive batching is off: batches of this network gain nothing on a CPU, see the last table of the benchmark.
"""

import os
from typing import Annotated

import bentoml
from bentoml.validators import ContentType
from work import PlainClassifier


@bentoml.service(
    workers=int(os.environ["PEER_WORKERS"]),
    traffic={"timeout": 30},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Classifier:
    def __init__(self):
        self.classifier = PlainClassifier(int(os.environ["PEER_THREADS"]))

    @bentoml.api
    def predict(self, picture: Annotated[bytes, ContentType("image/jpeg")], /) -> dict:
        return self.classifier(picture)
