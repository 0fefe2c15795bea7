"""What a server can be told about sharing its port with other processes."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SERVES = b"1"
"""What a worker says to the process that started it once it serves."""


class WorkerSettings(BaseSettings):
    """Part of ``serving.config.ServerConfig``."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    workers: int = Field(default=1, ge=1, le=256)
    """How many processes answer on the port; each has the bundle in its own memory. With a data directory they need a
    store. Their metrics and operators' ports follow each other, beginning with the one that is given."""

    worker: int = Field(default=0, ge=0)
    """Which of several workers this process is, from 1, as the process that started it says; 0 serves alone."""

    writer: str = ""
    """Where the first of several workers takes what the others are told, as the process that started them says."""
