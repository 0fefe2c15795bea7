"""The domain of a text-aware ranking service: features, text scoring, ranking, bundles. No torch, no gRPC."""

import os

# Official builds of ONNX Runtime from 1.29 on tell Microsoft of each process and session, with hashes of models, and
# keep what could not be sent in the home directory. They look at this when they are imported (onnxruntime's
# docs/Privacy.md); who wants it sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
