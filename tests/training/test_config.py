"""A job's configuration: a file, then settings on top, and every mistake named."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.errors import ConfigError
from training.config import load_config


def test_settings_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text("seed = 3\n[finetune]\nepochs = 2\nbf16 = false\n")

    config = load_config(file, ["finetune.epochs=7", "text.tokens.title_tokens=9"])

    assert (config.seed, config.finetune.epochs, config.finetune.bf16) == (3, 7, False)
    assert config.text.tokens.title_tokens == 9


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("finetune.epoch=3", "finetune.epoch: Extra inputs"),
        ("finetune.epochs=zero", "finetune.epochs: Input should be a valid integer"),
        ("finetune.epochs", "not of the form section.key=value"),
        ("seed.of=1", "seed is a value, not a section"),
        ("slices=[0.7, 0.4]", "slices must ascend"),
        ("text.history_length=20", "multiple of 16"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("(", r"\(")):
        load_config(None, ["seed=0", setting])


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text("seed = = 3")

    with pytest.raises(ConfigError, match=r"job\.toml cannot be read as TOML"):
        load_config(file, [])
