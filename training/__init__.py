"""Jobs that make a bundle: import, simulate, fine-tune, export, fit, evaluate, publish, batch score."""

import recsys  # noqa: F401 - before ONNX Runtime, which it tells to keep to itself
