"""What operators see of a running server: metrics, drift, slow answers, traces, and the figures of its status."""
