"""Fine-tune the text click predictor with Hugging Face's Trainer: checkpoints, resume, early stopping, DDP, bf16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.utils.data import Dataset as TorchDataset
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from recsys.metrics import click_report, list_metrics
from training.click_predictor import ClickPredictor
from training.text_lists import ItemIndex, Rows, TextLists

SCORING_BATCH = 512


class FinetuneConfig(BaseModel):
    """How the text click predictor is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=5, ge=1, description="passes over the catalog's texts, each with fresh lists")
    items_per_step: int = Field(default=256, ge=1, description="items encoded with gradient in one step")
    lists_per_step: int = Field(default=1024, ge=1, description="lists that one step learns from, at most")
    shown_per_list: int = Field(default=24, ge=2, description="items of a list in one step, clicked ones first")
    encoder_lr: float = Field(default=1e-4, gt=0, description="learning rate of the backbone")
    head_lr: float = Field(default=1e-3, gt=0, description="learning rate of pooling, projection and click head")
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps with rising learning rate")
    bce: float = Field(default=0.3, ge=0, description="weight of the binary cross-entropy beside the softmax")
    frozen_layers: int = Field(default=3, ge=0, description="lower layers kept as they are, their activations cached")
    lora_rank: int = Field(default=0, ge=0, description="train LoRA adapters of this rank instead of all weights")
    dropout: float = Field(default=0.1, ge=0, lt=1)
    bf16: bool = Field(default=True, description="bf16 autocast; quick wherever the hardware has it")
    patience: int = Field(default=2, ge=0, description="epochs without a better validation AUC; 0 trains them all")
    seed: int = 0


class _Items(TorchDataset[int]):
    """The rows of the texts that the training lists touch."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> int:
        return int(self._rows[index])


class _Collator:
    """A block of items -> the block and the lists that it learns from; drawn from the block itself, hence resumable."""

    def __init__(self, lists: TextLists, chosen: Rows, config: FinetuneConfig) -> None:
        self._lists, self._config = lists, config
        self._index = ItemIndex(lists, chosen)

    def __call__(self, rows: list[int]) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self._config.seed, *rows])
        block = np.array(rows, np.int64)
        chosen = self._index.touching(block, self._config.lists_per_step, rng)
        batch = self._lists.batch(chosen, shown=self._config.shown_per_list, rng=rng)
        tensors = {name: torch.from_numpy(getattr(batch, name)) for name in batch.__dataclass_fields__}
        return {"rows": torch.from_numpy(block), **tensors}


class _ClickTrainer(Trainer):  # type: ignore[misc]
    """Trainer with two learning rates and an evaluation over whole lists."""

    def __init__(self, *, lists: TextLists, validation: Rows, config: FinetuneConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._lists, self._validation, self._config = lists, validation, config

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:  # noqa: ARG002
        predictor: ClickPredictor = self.model
        slow = [p for p in predictor.encoder.backbone.parameters() if p.requires_grad]
        inside = {id(p) for p in slow}
        fast = [p for p in predictor.parameters() if p.requires_grad and id(p) not in inside]
        groups = [{"params": slow, "lr": self._config.encoder_lr}, {"params": fast, "lr": self._config.head_lr}]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=self._config.weight_decay)
        return self.optimizer

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        predictor: ClickPredictor = self.accelerator.unwrap_model(self.model)
        with self.compute_loss_context_manager():
            predictor.refresh()
            metrics = {
                f"eval_{name}": value for name, value in report(predictor, self._lists, self._validation).items()
            }
        metrics["epoch"] = float(self.state.epoch or 0)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _Progress(TrainerCallback):  # type: ignore[misc]
    """Tells the job's progress bar about each step and each evaluation."""

    def __init__(self, tell: Callable[[float, str], None]) -> None:
        self._tell, self._last = tell, ""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._tell(state.global_step / max(state.max_steps, 1), self._last)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:  # noqa: ARG002
        self._last = f"AUC {metrics['eval_auc']:.4f}"
        self._tell(state.global_step / max(state.max_steps, 1), self._last)


def finetune(
    predictor: ClickPredictor,
    lists: TextLists,
    *,
    training: Rows,
    validation: Rows,
    config: FinetuneConfig,
    output: Path,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, float]:
    """Train on some lists and keep the epoch that ranks the validation lists best; resumes from ``output``.

    Returns:
        The metrics of the last evaluation, from ``report``; empty without validation lists.
    """
    judged = len(validation) > 0
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.items_per_step,
        learning_rate=config.head_lr,
        warmup_steps=config.warmup,
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        bf16=config.bf16,
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        eval_strategy="epoch" if judged else "no",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=judged,
        metric_for_best_model="eval_auc" if judged else None,
        greater_is_better=True if judged else None,
        logging_strategy="epoch",
        report_to=["tensorboard"],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
    )
    items = np.unique(lists.items[np.isin(lists.lists.list_of_row, training)])
    trainer = _ClickTrainer(
        model=predictor,
        args=arguments,
        train_dataset=_Items(items[items < lists.pad]),
        data_collator=_Collator(lists, training, config),
        lists=lists,
        validation=validation,
        config=config,
    )
    trainer.remove_callback("PrinterCallback")
    if config.patience and judged:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=config.patience))
    if progress is not None:
        trainer.add_callback(_Progress(progress))
    with trainer.compute_loss_context_manager():
        predictor.refresh()
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(output)) if output.is_dir() else None)
    with trainer.compute_loss_context_manager():
        predictor.refresh()
        return report(predictor, lists, validation) if judged else {}


def score_lists(predictor: ClickPredictor, lists: TextLists, chosen: Rows) -> npt.NDArray[np.float32]:
    """Return the text outputs of the chosen lists' items, [their items in order, 5], from the predictor's table."""
    parts = []
    for start in range(0, len(chosen), SCORING_BATCH):
        batch = lists.batch(chosen[start : start + SCORING_BATCH])
        outputs = predictor.score(batch).float().cpu().numpy()
        lengths = lists.lists.lengths[chosen[start : start + SCORING_BATCH]]
        inside = np.arange(outputs.shape[1]) < lengths[:, None]
        parts.append(np.where((batch.candidates < lists.pad)[..., None], outputs, np.nan)[inside])
    return np.concatenate(parts).astype(np.float32) if parts else np.empty((0, 5), np.float32)


def report(predictor: ClickPredictor, lists: TextLists, chosen: Rows) -> dict[str, float]:
    """Return AUC, MRR, nDCG@5, nDCG@10, hit@1 over lists, and precision, recall and F1 per class over clicks."""
    logits = score_lists(predictor, lists, chosen)[:, 0].astype(np.float64)
    clicked = lists.clicked[np.isin(lists.lists.list_of_row, chosen)]
    offsets = np.concatenate([[0], np.cumsum(lists.lists.lengths[chosen])])
    per_list = list_metrics(np.nan_to_num(logits, nan=-np.inf), clicked, offsets)
    probability = 1.0 / (1.0 + np.exp(-np.nan_to_num(logits)))
    return {**per_list.means(), **click_report(probability, clicked).flat()}
