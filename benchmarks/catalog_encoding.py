"""A catalog's texts to vectors: ours beside sentence-transformers' ``encode``, same weights, same words.

Ours is what ``recsys score`` does with texts that it has no vector of: tokens, then the exported encoder in batches of
like length, in fp32 and in int8. The peers are sentence-transformers on torch, ONNX Runtime and OpenVINO, each in a
process and an environment of its own (``--peers DIR``). All are asked in turn, on the CPU. The texts are a simulated
shop's, or a dataset's (``--dataset``), each once and cut to what ours reads, so that all read the same tokens. The
encoder is the packaged backbone with a projection that is drawn, not trained.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from figures import Figure, arguments, console, tell
from peer_models import item_string, packaged_tokenizer, save_encoder, shortened
from peers import QUICK_VARIANTS, REFERENCE, THREADS, VARIANTS, Peer, add_peers, interpreters, peers, spearman
from rich.progress import track
from tokenizers import Tokenizer

from recsys.catalog import Catalog
from recsys.dataset import read_dataset
from recsys.schema import ItemText
from recsys.text import encoder as run_time
from recsys.text.tokens import ItemTokenizer, TextSettings
from training.backbone import load_backbone
from training.click_model import ClickModelConfig, ItemEncoder
from training.export import export_encoder, quantize_int8
from training.simulate import simulate
from training.simulator.config import SimulationConfig

COMPARED = 1_000  # texts, the first half with the second half
AGREEMENT = 0.99  # a peer whose cosines are in another order is another model, and is not counted
WARM_UP = 256
BATCHES = (32, 128)  # each peer has the one that it is quickest with; it sorts by length first

Encode = Callable[[list[ItemText]], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Rounds, in each of which everybody encodes the same texts."""

    rounds: int
    texts: int


FULL = Effort(rounds=7, texts=4_000)
QUICK = Effort(rounds=2, texts=500)


def main() -> None:
    """Measure and tell."""
    parser = arguments("A catalog's texts to vectors, beside sentence-transformers.")
    add_peers(parser)
    parser.add_argument("--dataset", type=Path, help="take the texts of its items instead of a simulated shop's")
    options = parser.parse_args()
    pythons = interpreters(options.peers)
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder), pythons)


def compare(options: argparse.Namespace, folder: Path, pythons: dict[str, Path]) -> None:
    """Make the model and the texts, let everybody encode them in turn, and tell."""
    effort, variants = (QUICK, QUICK_VARIANTS) if options.quick else (FULL, VARIANTS)
    tokenizer, settings = packaged_tokenizer(), TextSettings()
    texts = drawn_texts(options.dataset, folder, effort.texts, tokenizer, settings)
    strings = [item_string(text) for text in texts]
    tokens = ItemTokenizer(tokenizer, settings).encode(texts)
    if [number for one in tokenizer.encode_batch(strings) for number in one.ids] != tokens.ids.tolist():
        raise SystemExit("the texts as strings have other tokens than our encoder reads; correct peer_models.py")
    with console.status("exporting our encoder ..."):
        torch.manual_seed(0)
        encoder = ItemEncoder(load_backbone("", dropout=0.0), ClickModelConfig()).eval()
        save_encoder(encoder, folder / "encoder")
        ours = encoders(encoder, tokenizer, settings)
    model, calibration = folder / "encoder", strings[: min(len(strings), 300)]
    with peers(variants, pythons, kind="encoder", model=model, calibration=calibration) as found:
        if REFERENCE.name not in {peer.variant.name for peer in found}:
            raise SystemExit(f"{REFERENCE.name}, to which all are compared, did not come up")
        taken = in_turn(ours, found, texts, strings, effort.rounds, folder)
    told = f"catalog_encoding: {len(texts):,} texts of {tokens.lengths.mean():.0f} tokens, {THREADS} threads"
    tell(told, figures(taken, {peer.variant.name: peer.about for peer in found}), options.json)


@dataclass(slots=True)
class Taken:
    """What somebody needed for all texts, round by round, and made of them last."""

    texts: int
    seconds: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    vectors: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def per_second(self) -> float:
        """Return the median rate by the clock."""
        return self.texts / float(np.median(self.seconds))


def in_turn(
    ours: dict[str, Encode], found: list[Peer], texts: list[ItemText], strings: list[str], rounds: int, folder: Path
) -> dict[str, Taken]:
    """Let everybody encode all texts once a round, after a few of them to get warm."""
    taken = {name: Taken(texts=len(texts)) for name in [*ours, *(peer.variant.name for peer in found)]}
    for encode in ours.values():
        encode(texts[:WARM_UP])
    file = folder / "vectors.npy"
    batches = [peer.quickest_batch(BATCHES, texts=strings[:WARM_UP], vectors=str(file)) for peer in found]
    for _ in track(range(rounds), "encoding in turn", console=console, transient=True):
        for name, encode in ours.items():
            began, worked = time.perf_counter(), time.process_time()
            taken[name].vectors = encode(texts)
            taken[name].seconds.append(time.perf_counter() - began)
            taken[name].processor_s.append(time.process_time() - worked)
        for peer, batch in zip(found, batches, strict=True):
            answer = peer.ask(texts=strings, batch=batch, vectors=str(file))
            one = taken[peer.variant.name]
            one.vectors = np.load(file)
            one.seconds.append(answer["seconds"])
            one.processor_s.append(answer["processor_s"])
            time.sleep(0.2)  # its threads may spin for a while
    return taken


def drawn_texts(
    dataset: Path | None, folder: Path, count: int, tokenizer: Tokenizer, settings: TextSettings
) -> list[ItemText]:
    """Draw so many different texts, cut to what is read of them."""
    if dataset is None:
        simulate(SimulationConfig(items=max(5_000, count), users=20, lists=100), folder / "dataset")
    found = list(dict.fromkeys(Catalog(read_dataset(dataset or folder / "dataset").items).texts()))
    rows = np.random.default_rng(0).permutation(len(found))[:count]
    return [shortened(found[row], tokenizer, settings) for row in rows]


def encoders(encoder: ItemEncoder, tokenizer: Tokenizer, settings: TextSettings) -> dict[str, Encode]:
    """Return our encoder in each precision that a catalog is scored in on a CPU, from texts to vectors."""
    fp32 = export_encoder(encoder)
    read = ItemTokenizer(tokenizer, settings)

    def opened(graph: bytes) -> Encode:
        session = run_time.ItemEncoder(graph, threads=THREADS, cuda=False)
        return lambda texts: session.encode(read.encode(texts))[0]

    return {"ours_fp32": opened(fp32), "ours_int8": opened(quantize_int8(fp32))}


def cosines(vectors: np.ndarray) -> np.ndarray:
    """Return the similarities of the first texts with the next ones, as one series."""
    half = min(len(vectors), COMPARED) // 2
    similar: np.ndarray = (vectors[:half] @ vectors[half : 2 * half].T).ravel()
    return similar


def figures(taken: dict[str, Taken], peers_about: dict[str, str]) -> dict[str, Figure]:
    """Tell everybody's rate and agreement with torch's fp32; the ratio is our quickest to the best peer that agrees."""
    reference = cosines(taken[REFERENCE.name].vectors)
    agreement = {name: spearman(reference, cosines(one.vectors)) for name, one in taken.items()}
    rates = {name: one.per_second() for name, one in taken.items()}
    told = {}
    for name, one in taken.items():
        says = peers_about.get(name, "texts to vectors, the median")
        told[f"{name}_per_s"] = Figure(value=rates[name], unit="1/s", says=says)
        processor_us = 1e6 * float(np.median(one.processor_s)) / one.texts
        told[f"{name}_processor_us"] = Figure(value=processor_us, unit="us", says="of processor time a text")
        counted = "" if agreement[name] >= AGREEMENT else "; not counted"
        told[f"{name}_spearman"] = Figure(value=agreement[name], unit="", says=f"cosines, to {REFERENCE.name}{counted}")
    ours = max((name for name in rates if name not in peers_about), key=lambda name: rates[name])
    best = max((name for name in peers_about if agreement[name] >= AGREEMENT), key=lambda name: rates[name])
    told["ratio_best_peer"] = Figure(value=rates[ours] / rates[best], unit="x", says=f"{ours} to {best}")
    told["spearman"] = Figure(value=agreement[ours], unit="", says=f"{ours}, cosines, to {REFERENCE.name}")
    return told


if __name__ == "__main__":
    main()
