"""JPEG to probabilities as one writes it by hand with OpenCV, NumPy and ONNX Runtime: the same work in every peer."""

import json
import os

import cv2
import numpy as np
import onnxruntime


class PlainClassifier:
    """A classifier behind a stretch to the network's input. ``threads`` work on one run of the network."""

    def __init__(self, threads):
        spec = json.loads(os.environ["PEER_SPEC"])
        cv2.setNumThreads(1)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if threads == 1 or spec["cores"] < 2 * threads:  # threads that spin would take the cores from HTTP and decoding
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(spec["model"], options, providers=["CPUExecutionProvider"])
        self.input, self.output = spec["input"], [spec["output"]]
        self.labels = spec["labels"]
        self.size = tuple(reversed(spec["size"]))  # OpenCV's order: width, height
        self.mean = np.array(spec["mean"], np.float32)
        self.temperature = spec["temperature"]
        self.scale = 1 / np.array(spec["std"], np.float32)

    def prepare(self, data):
        """The network's input float32 [3, h, w] of an encoded picture."""
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise ValueError("not a picture")
        resized = cv2.resize(picture, self.size, interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(((resized - self.mean) * self.scale).transpose(2, 0, 1))

    def network(self, batch):
        """Logits float32 [B, C]."""
        return self.session.run(self.output, {self.input: batch})[0]

    def answer(self, logits):
        """What is sent for one picture."""
        powers = np.exp((logits - logits.max()) / self.temperature)
        probabilities = powers / powers.sum()
        best = int(probabilities.argmax())
        return {
            "probabilities": probabilities.tolist(),
            "label": self.labels[best],
            "score": float(probabilities[best]),
            "class_names": self.labels,
        }

    def __call__(self, data):
        return self.answer(self.network(self.prepare(data)[None])[0])
