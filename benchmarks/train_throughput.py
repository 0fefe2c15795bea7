"""How fast the text click predictor learns from a log, against the plain loop on the same log.

The plain loop is what one writes first: for every item of every list shown, one forward and backward pass of BERT over
the history and the item together, padded to the longest there can be; nothing is shared, kept or sorted by length. Ours
encodes each text once a pass and learns from all lists that touch it. Both use the same backbone, loss and precision.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figure, arguments, console, tell

from recsys.catalog import Catalog
from recsys.dataset import read_dataset
from recsys.text.tokens import ItemTokenizer, Tokens
from training.backbone import load_backbone, load_tokenizer
from training.click_predictor import click_loss
from training.config import TrainConfig
from training.cross_encoder import CrossEncoder, CrossEncoderConfig
from training.finetune import finetune, report, report_scores
from training.pair_network import PairNetwork
from training.simulate import simulate
from training.simulator.config import SimulationConfig
from training.text_lists import Rows
from training.text_log import TextLog, drawn
from training.text_training import build_predictor

PLAIN_LISTS = 2  # of one step; some 40 pairs
FULL = SimulationConfig(items=2_000, users=1_000, lists=12_000)
QUICK = SimulationConfig(items=300, users=150, lists=2_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Shown items learned from, seconds, and the mean AUC on the test lists afterwards."""

    rows: int
    seconds: float
    auc: float


def main() -> None:
    """Measure and tell."""
    parser = arguments("Training throughput of the text click predictor against the plain loop.")
    parser.add_argument("--dataset", type=Path, help="a dataset instead of a simulated one")
    parser.add_argument("--epochs", type=int, help="passes over the texts; the plain loop gets the same seconds")
    parser.add_argument("--seconds", type=float, help="seconds for the plain loop instead")
    options = parser.parse_args()
    epochs = options.epochs or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory() as folder:
        directory = options.dataset or Path(folder) / "dataset"
        if options.dataset is None:
            simulate(QUICK if options.quick else FULL, directory)
        dataset = read_dataset(directory)
        log = TextLog.of(dataset, Catalog(dataset.items))
        judged = drawn(log.test, 40 if options.quick else 400, seed=0)
        with console.status("training ours ..."):
            ours = train_ours(log, judged, epochs, Path(folder) / "run")
        seconds = options.seconds or (min(ours.seconds, 10.0) if options.quick else ours.seconds)
        with console.status("training the plain loop ..."):
            plain = train_plainly(log, judged, seconds)
    tell(
        f"train_throughput: {len(log.training):,} lists, {len(log.texts):,} texts", compared(ours, plain), options.json
    )


def compared(ours: Pace, plain: Pace) -> dict[str, Figure]:
    """Set the two side by side."""
    rate, plain_rate = ours.rows / ours.seconds, plain.rows / plain.seconds
    return {
        "ours_rows_per_s": Figure(value=rate, unit="1/s", says="shown items learned from, each at most once a pass"),
        "plain_rows_per_s": Figure(value=plain_rate, unit="1/s", says="shown items learned from, one padded pair each"),
        "ratio_plain_loop": Figure(value=rate / plain_rate, unit="x", says="ours / plain"),
        "ours_seconds": Figure(value=ours.seconds, unit="s", says="caches and all included"),
        "plain_seconds": Figure(value=plain.seconds, unit="s"),
        "ours_auc": Figure(value=ours.auc, unit="", says="on test lists, after these seconds"),
        "plain_auc": Figure(value=plain.auc, unit="", says="on the same lists, after its seconds"),
    }


def train_ours(log: TextLog, judged: Rows, epochs: int, output: Path) -> Pace:
    """Fine-tune as the training job does, for some passes over the texts."""
    config = TrainConfig()
    tokens = ItemTokenizer(load_tokenizer(""), config.text.tokens).encode(log.texts)
    began = time.perf_counter()
    predictor = build_predictor(tokens, config, float(log.lists.clicked.mean()))
    seen = 0

    def count(_: Any, __: Any, given: dict[str, torch.Tensor]) -> None:
        nonlocal seen
        seen += int((given["candidates"] < log.lists.pad).sum())

    predictor.register_forward_pre_hook(count, with_kwargs=True)
    tune = config.finetune.model_copy(update={"epochs": epochs, "patience": 0})
    finetune(predictor, log.lists, training=log.training, validation=judged[:0], config=tune, output=output)
    seconds = time.perf_counter() - began
    whole = epochs * int(log.lists.lists.lengths[log.training].sum())
    return Pace(rows=min(seen, whole), seconds=seconds, auc=report(predictor, log.lists, judged)["auc"])


def train_plainly(log: TextLog, judged: Rows, seconds: float) -> Pace:
    """Run the plain loop for so long."""
    config = CrossEncoderConfig()
    torch.manual_seed(config.seed)
    network = PairNetwork(load_backbone("", dropout=config.dropout), dropout=config.dropout, bce=config.bce, start=-2.0)
    if torch.cuda.is_available():
        network.to("cuda")
    model = CrossEncoder(network, load_tokenizer(""), log.texts, config)
    longest = 1 + config.history_tokens + sum(config.tokens.budgets) + 3
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.encoder_lr)
    order = np.random.default_rng(0).permutation(log.training)
    _plain_step(model, log, order[:PLAIN_LISTS], longest, optimizer)  # what is made on first use is not timed
    rows, place = 0, PLAIN_LISTS
    began = time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        chosen = order[np.arange(place, place + PLAIN_LISTS) % len(order)]
        place += PLAIN_LISTS
        rows += _plain_step(model, log, chosen, longest, optimizer)
    auc = report_scores(model.score(log.lists, judged), log.lists, judged)["auc"]
    return Pace(rows=rows, seconds=took, auc=auc)


def _plain_step(model: CrossEncoder, log: TextLog, chosen: Rows, longest: int, optimizer: torch.optim.Optimizer) -> int:
    """Learn from every item of some lists; returns how many there were."""
    network, config = model.network.train(), model.config
    device = network.out.weight.device
    batch = log.lists.batch(chosen)
    valid = batch.candidates < log.lists.pad
    owners = np.broadcast_to(chosen[:, None], valid.shape)
    ids, segments = _padded(model.pairs.pairs(log.lists, owners[valid], batch.candidates[valid]), longest)
    clicked, weight = torch.from_numpy(batch.clicked).to(device), torch.from_numpy(batch.weight).to(device)
    there = torch.from_numpy(valid).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.bf16):
        logits = network.logits(ids, segments)
        scores = torch.zeros(valid.shape, device=device).masked_scatter(there, logits)
        loss = click_loss(scores, clicked, there, weight, bce=config.bce)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return int(valid.sum())


def _padded(tokens: Tokens, width: int) -> tuple[Any, Any]:
    """Pad every pair to the same width, however short they are."""
    ids, segments = tokens.padded(np.arange(len(tokens)))
    more = ((0, 0), (0, max(0, width - ids.shape[1])))
    return np.pad(ids, more), np.pad(segments, more, constant_values=-1)


if __name__ == "__main__":
    main()
