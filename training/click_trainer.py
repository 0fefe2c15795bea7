"""The loop of both text models, Hugging Face's Trainer: checkpoints, resume, early stopping, DDP, bf16."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

Rows = npt.NDArray[np.int64]
Collator = Callable[[list[int]], dict[str, Tensor]]


class TrainerConfig(BaseModel):
    """What the loop itself can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=5, ge=1)
    encoder_lr: float = Field(default=7e-5, gt=0, description="learning rate of the backbone")
    head_lr: float = Field(default=3e-4, gt=0, description="learning rate of everything above the backbone")
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps with rising learning rate")
    bf16: bool = Field(default=True, description="bf16 autocast; quick wherever the hardware has it")
    patience: int = Field(default=2, ge=0, description="epochs without a better validation AUC; 0 trains them all")
    seed: int = 0


class _Numbers(TorchDataset[int]):
    """Numbers of what is learned from; the collator makes batches of them."""

    def __init__(self, numbers: Rows) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> int:
        return int(self._numbers[index])


class _ClickTrainer(Trainer):  # type: ignore[misc]
    """Trainer with two learning rates and an evaluation over whole lists."""

    def __init__(
        self, *, backbone: nn.Module, config: TrainerConfig, judge: Callable[[], dict[str, float]] | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._backbone, self._config, self._judge = backbone, config, judge

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:  # noqa: ARG002
        slow = [p for p in self._backbone.parameters() if p.requires_grad]
        inside = {id(p) for p in slow}
        fast = [p for p in self.model.parameters() if p.requires_grad and id(p) not in inside]
        groups = [{"params": slow, "lr": self._config.encoder_lr}, {"params": fast, "lr": self._config.head_lr}]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=self._config.weight_decay)
        return self.optimizer

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        assert self._judge is not None  # noqa: S101  # without a judge there is no evaluation strategy
        metrics = {f"eval_{name}": value for name, value in self._judge().items()}
        metrics["epoch"] = float(self.state.epoch or 0)
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
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


def run_trainer(
    model: nn.Module,
    *,
    backbone: nn.Module,
    numbers: Rows,
    batch: int,
    collate: Collator,
    judge: Callable[[], dict[str, float]] | None,
    config: TrainerConfig,
    output: Path,
    progress: Callable[[float, str], None] | None,
) -> None:
    """Train a model whose ``forward(**collate(numbers))`` returns its loss; resumes from ``output``.

    Args:
        model: all that is trained.
        backbone: the part of it that gets the slower learning rate.
        numbers: what is learned from, each number once an epoch.
        batch: so many numbers a step.
        collate: makes a step's arguments of them; same numbers, same arguments.
        judge: measures the model, ``auc`` among the figures, after each epoch; the best epoch's weights are kept.
        config: learning rates, epochs and the like.
        output: checkpoints and TensorBoard logs.
        progress: told the share done and a remark.
    """
    data = _Numbers(numbers)
    trainer = _ClickTrainer(
        model=model,
        args=_arguments(config, batch, output, judged=judge is not None),
        train_dataset=data,
        eval_dataset=data if judge else None,  # Trainer wants one; what is judged is up to the judge
        data_collator=collate,
        backbone=backbone,
        config=config,
        judge=judge,
    )
    trainer.remove_callback(PrinterCallback)
    if config.patience and judge:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=config.patience))
    if progress is not None:
        trainer.add_callback(_Progress(progress))
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(output))


def last_whole_checkpoint(output: Path) -> str | None:
    """Return the newest checkpoint that was written to its end; Trainer writes its state last."""
    found = sorted(output.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        try:
            json.loads((checkpoint / "trainer_state.json").read_bytes())
        except (OSError, ValueError):  # the process was killed while it saved
            continue
        return str(checkpoint)
    return None


def _arguments(config: TrainerConfig, batch: int, output: Path, *, judged: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=batch,
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
        restore_callback_states_from_checkpoint=True,
        logging_strategy="epoch",
        report_to=["tensorboard"],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
    )
