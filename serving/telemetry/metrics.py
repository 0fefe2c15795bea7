"""Every metric that the server counts as it goes; what it is asked for at a scrape stands in ``readings.py``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics

from serving.telemetry.histogram import Histogram

# From 0.5 ms, which a warm answer of few candidates takes, to 2 s, the client's own deadline.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096, 16_384)
_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_SCORES = (-8.0, -4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
_TAUS = (-0.5, 0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
# From an instant return to a bundle that is still there to one whose texts have to be read first.
_SWAP_SECONDS = (0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_PROBABILITIES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


class Metrics:
    """The metrics of one server, in a registry of its own.

    Labels take few values each, from the code or from operators: methods, codes, stages, reasons, variants. Never a
    user, an item or a text.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        # One more series for each, of when it was first counted, which nothing here asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"recsys_{name}", says, labels, registry=registry)

        def histogram(name: str, says: str, buckets: tuple[float, ...], label: str = "") -> Histogram:
            return Histogram(f"recsys_{name}", says, buckets, label, registry=registry)

        self.calls = counter("calls", "Calls answered, by method and gRPC code.", "method", "code")
        self.call_seconds = histogram("call_seconds", "From a call's bytes to its answer.", SECONDS, "method")
        self.stage_seconds = histogram("stage_seconds", "Where the time of a ranking went.", SECONDS, "stage")
        self.rank_seconds = histogram("rank_seconds", "Rankings, by the rung that they were made on.", SECONDS, "rung")
        self.steps_down = counter("steps_down", "Rankings made on a lower rung, by rung and reason.", "rung", "reason")

        self.candidates = histogram("candidates", "Candidates of a request.", _SIZES)
        self.text_coverage = histogram("text_coverage_ratio", "Share of a request's candidates with a text.", _SHARES)
        self.unknown_items = counter("unknown_items", "Candidates that the model does not know.")
        self.unread_items = counter("items_without_text", "Known candidates whose text was not read yet.")
        self.unknown_users = counter("unknown_users", "Rankings for users of whom nothing is known.")
        self.degraded = counter("degraded_answers", "Rankings that had to do without something.", "reason")
        self.slow = counter("slow_answers", "Rankings slower than the slow log's limit.")
        self.top_score = histogram("top_score", "Score of the first item of a ranking.", _SCORES)
        self.click_probability = histogram(
            "click_probability_ratio", "Click probability of the first item of a ranking.", _PROBABILITIES
        )

        self.batch_size = histogram("batch_size", "What was worked on at once, by what it is.", _BATCHES, "batch")

        self.events = counter("events", "Events told: accepted, duplicate or rejected.", "outcome")
        self.rejected = counter("events_rejected", "Events not taken, by reason.", "reason")
        self.commit_seconds = histogram("event_commit_seconds", "Making a group of events durable.", SECONDS)
        self.learn_seconds = histogram("event_learn_seconds", "Learning a group of events.", SECONDS)

        self.swaps = counter("swaps", "Bundles that came to serve or were not let, and returns.", "outcome")
        self.swap_seconds = histogram("swap_seconds", "From a bundle's being asked for to its serving.", _SWAP_SECONDS)
        self.variants = counter("variant_rankings", "Rankings by the variant that answered.", "variant")
        self.shadow_top_overlap = histogram(
            "shadow_top_overlap_ratio", "Share of an answer's first ten among the shadow's first ten.", _SHARES
        )
        self.shadow_kendall_tau = histogram("shadow_kendall_tau", "Kendall's tau of answer and shadow.", _TAUS)
        self.shadow_seconds = histogram("shadow_seconds", "What a shadow took to rank.", SECONDS)
