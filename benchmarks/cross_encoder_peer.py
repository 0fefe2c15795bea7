"""A ranking by the service beside the plain, expensive way: our cross-encoder, served by sentence-transformers.

Both order the same 100 candidates for the same user: the service end to end over gRPC, with a catalog of 50,000 items
whose vectors are ready; the cross-encoder as sentence-transformers' CrossEncoder runs it on torch, ONNX Runtime and
OpenVINO, each in a process and an environment of its own (``--peers DIR``), asked in turn with the service. It is
that of ``training/cross_encoder.py``: BERT of the packaged size over the titles that the user clicked and the
candidate's words. Its last layer is drawn, not trained: nothing here depends on what it has learned.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import grpc
import numpy as np
import polars as pl
from figures import Figure, arguments, console, tell
from latency_servers import RANK, serve
from made_bundle import Scale, make_bundle
from peer_models import history_string, item_string, packaged_tokenizer, save_cross_encoder, shortened
from peers import QUICK_VARIANTS, THREADS, VARIANTS, Peer, add_peers, interpreters, peers, spearman
from rich.progress import track
from serve_latency import made_requests
from server_process import process
from tokenizers import Tokenizer
from torch import nn

from recsys.bundle import read_bundle
from recsys.catalog import Catalog
from recsys.dataset import read_dataset
from recsys.features import FeatureState, features_and_histories
from recsys.lists import Lists
from recsys.schema import ItemText
from serving.convert import request_from_wire
from serving.pb import ranking_pb2 as pb
from training.backbone import load_backbone
from training.cross_encoder import CrossEncoder, CrossEncoderConfig
from training.pair_network import PairNetwork
from training.text_lists import TextLists

CANDIDATES = 100
AGREEMENT = 0.99  # a peer whose order differs by more is another model, and is not counted
BATCHES = (16, 32, CANDIDATES)  # each peer has the one that it is quickest with


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Rounds, in each of which every peer is asked once and the service ``calls`` times after each of them."""

    rounds: int
    calls: int
    scale: Scale


FULL = Effort(rounds=20, calls=20, scale=Scale())
QUICK = Effort(rounds=3, calls=20, scale=Scale(lists=4_000, users=120, fitted_lists=400))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request as a peer reads it, and what our own cross-encoder answers in PyTorch."""

    pairs: list[tuple[str, str]]
    scores: np.ndarray


def main() -> None:
    """Measure and tell."""
    parser = arguments("A ranking beside our cross-encoder, served by sentence-transformers.")
    add_peers(parser)
    options = parser.parse_args()
    pythons = interpreters(options.peers)
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder), pythons)


def compare(options: argparse.Namespace, folder: Path, pythons: dict[str, Path]) -> None:
    """Make what is needed below ``folder``, ask the service and the peers in turn, and tell."""
    effort, variants = (QUICK, QUICK_VARIANTS) if options.quick else (FULL, VARIANTS)
    with console.status("making a bundle: 50,000 items, 300 trees of 63 leaves ..."):
        bundle = make_bundle(folder, effort.scale)
        messages = made_requests(bundle, folder / "dataset", CANDIDATES)
    with console.status("asking our own cross-encoder, in PyTorch ..."):
        network = untrained()
        questions, length = asked(network, bundle, folder / "dataset", messages[: effort.rounds])
        save_cross_encoder(network, folder / "cross_encoder")
    calibration = [pair for question in questions for pair in question.pairs][:: max(1, effort.rounds // 2)]
    with ExitStack() as stack:
        found = stack.enter_context(
            peers(variants, pythons, kind="cross_encoder", model=folder / "cross_encoder", calibration=calibration)
        )
        address = stack.enter_context(process(serve, bundle, THREADS))
        seconds, agreement = in_turn(address, messages, found, questions, effort.calls)
    told = f"cross_encoder_peer: {CANDIDATES} candidates, pairs of {length:.0f} tokens, {THREADS} threads"
    tell(told, figures(found, seconds, agreement), options.json)


def untrained() -> PairNetwork:
    """Return the cross-encoder's network on the packaged backbone, its last layer drawn by a seed."""
    network = PairNetwork(load_backbone("", dropout=0.0), dropout=0.0, bce=0.0, start=0.0).eval()
    rng = np.random.default_rng(0)
    network.out.weight.data.copy_(network.out.weight.new_tensor(rng.standard_normal(network.out.weight.shape)))
    nn.init.zeros_(network.out.bias)
    return network


def asked(network: PairNetwork, bundle: Path, dataset: Path, messages: list[bytes]) -> tuple[list[Question], float]:
    """Return the requests as strings, with our cross-encoder's scores; and a pair's mean number of tokens.

    Raises:
        SystemExit: a peer would read other tokens than ours.
    """
    config, tokenizer = CrossEncoderConfig(bf16=False), packaged_tokenizer()
    texts, lists = requested(bundle, dataset, messages, tokenizer, config)
    model = CrossEncoder(network, tokenizer, texts, config)
    numbers = np.arange(len(lists))
    scores = np.split(model.score(lists, numbers), lists.lists.offsets[1:-1])
    said = [item_string(text) for text in texts]
    questions = []
    for number in numbers:
        titles = [texts[row].title for row in lists.history[number] if row < lists.pad]
        history = history_string(titles, tokenizer, config.history_tokens)
        candidates = lists.items[lists.rows(numbers[number : number + 1])]
        pairs = [(history, said[row]) for row in candidates]
        questions.append(Question(pairs=pairs, scores=scores[number]))
    tokens = model.pairs.pairs(lists, lists.lists.list_of_row, lists.items)
    theirs = tokenizer.encode_batch([pair for question in questions for pair in question.pairs])
    if [number for one in theirs for number in one.ids] != tokens.ids.tolist():
        raise SystemExit("the pairs as strings have other tokens than our cross-encoder reads; correct peer_models.py")
    return questions, float(tokens.lengths.mean())


def requested(
    bundle: Path, dataset: Path, messages: list[bytes], tokenizer: Tokenizer, config: CrossEncoderConfig
) -> tuple[list[ItemText], TextLists]:
    """Return the requests as lists, with the histories that the service finds, and the texts that they are about."""
    manifest, files = (found := read_bundle(bundle)).manifest, found.files
    catalog, read = Catalog(pl.read_parquet(BytesIO(files["items.parquet"]))), read_dataset(dataset)
    requests = [request_from_wire(pb.RankRequest.FromString(message), now_us=0) for message in messages]
    count = len(requests)
    lists = Lists(
        user_ids=[request.user_id for request in requests],
        ts=np.array([request.ts for request in requests]),
        item_rows=catalog.rows(one.item_id for request in requests for one in request.candidates),
        offsets=np.concatenate([[0], np.cumsum([len(request.candidates) for request in requests])]),
        histories=[None] * count,
        queries=[""] * count,
        surfaces=[""] * count,
    )
    _, before = features_and_histories(
        FeatureState(catalog), read.impressions, read.events, lists, manifest.text.history_length, skips=False
    )
    # Only what the requests are about is tokenized; -1, which no row is, stands first.
    kept = np.union1d([-1], np.concatenate([lists.item_rows, before.rows.ravel()]))
    settings = config.tokens.model_copy(update={"title_tokens": config.title_tokens})  # of a history's titles, too
    texts = [shortened(text, tokenizer, settings) for text in catalog.texts(kept[1:].tolist())]
    return texts, TextLists(
        replace(lists, item_rows=np.searchsorted(kept, lists.item_rows) - 1),
        replace(before, rows=np.searchsorted(kept, before.rows) - 1),
        np.zeros(len(lists.item_rows), np.bool_),
        pad=len(texts),
        query_rows=np.full(count, -1, np.int32),
        weight=np.ones(count, np.float32),
    )


def in_turn(
    address: str, messages: list[bytes], found: list[Peer], questions: list[Question], calls: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Ask every peer each question, and the service after each; seconds, and the peers' agreement with our own scores.

    The service's are those of the client, the peers' those of their own processes, without the pipe.
    """
    seconds: dict[str, list[float]] = {"service": []}
    agreement: dict[str, list[float]] = {}
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(RANK)
        for message in messages:  # warm-up
            call(message)
        batches = [peer.quickest_batch(BATCHES, pairs=questions[0].pairs) for peer in found]
        asked_of_service = 0
        for question in track(questions, "asking in turn", console=console, transient=True):
            for peer, batch in zip(found, batches, strict=True):
                answer = peer.ask(pairs=question.pairs, batch=batch)
                seconds.setdefault(peer.variant.name, []).append(answer["seconds"])
                seconds.setdefault(f"{peer.variant.name}_processor", []).append(answer["processor_s"])
                agreement.setdefault(peer.variant.name, []).append(spearman(answer["scores"], question.scores))
                time.sleep(0.2)  # the peer's threads may spin for a while
                for _ in range(calls):
                    began = time.perf_counter()
                    call(messages[asked_of_service % len(messages)])
                    seconds["service"].append(time.perf_counter() - began)
                    asked_of_service += 1
    return seconds, agreement


def figures(found: list[Peer], seconds: dict[str, list[float]], agreement: dict[str, list[float]]) -> dict[str, Figure]:
    """Tell everybody's median, and how many times the service's the peers' are; the best is of those that agree."""
    service = float(np.median(seconds["service"]))
    told = {
        "rank_100_p50_ms": Figure(value=1e3 * service, unit="ms", says="the service, end to end"),
        "rank_100_p99_ms": Figure(
            value=1e3 * float(np.percentile(seconds["service"], 99)), unit="ms", says="the same, peers between"
        ),
    }
    ratios = {}
    for peer in found:
        name, median = peer.variant.name, float(np.median(seconds[peer.variant.name]))
        agrees = min(agreement[name])
        told[f"{name}_processor_ms"] = Figure(
            value=1e3 * float(np.median(seconds[f"{name}_processor"])), unit="ms", shown=False
        )
        told[f"{name}_p50_ms"] = Figure(value=1e3 * median, unit="ms", says=peer.about)
        told[f"{name}_spearman"] = Figure(value=agrees, unit="", says="to our cross-encoder's scores, the least")
        told[f"ratio_{name}"] = Figure(
            value=median / service, unit="x", says="" if agrees >= AGREEMENT else "not counted: another order"
        )
        if agrees >= AGREEMENT:
            ratios[name] = median / service
    if not ratios:
        raise SystemExit("no peer came up and agreed with our cross-encoder; the figures above say why")
    best = min(ratios, key=lambda name: ratios[name])
    told["ratio_best_peer"] = Figure(value=ratios[best], unit="x", says=f"of {best}, the quickest that agrees")
    return told


if __name__ == "__main__":
    main()
