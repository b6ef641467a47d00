"""From a trained run to a bundle: ONNX, parity certificate, metrics, golden pictures, card. Needs ``[train]``."""
