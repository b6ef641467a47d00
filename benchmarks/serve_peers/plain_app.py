"""A plain FastAPI application: `async def`, the body as it came, everything on the event loop.

uvicorn plain_app:app --workers N, with PEER_THREADS the threads of one run of the network.
"""

import os

from fastapi import FastAPI, Request
from work import PlainClassifier

app = FastAPI()
classifier = PlainClassifier(int(os.environ["PEER_THREADS"]))


@app.post("/predict")
async def predict(request: Request):
    return classifier(await request.body())


@app.get("/health")
async def health():
    return {}
