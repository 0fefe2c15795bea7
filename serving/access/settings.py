"""What the server can be told about who may call it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AccessSettings(BaseSettings):
    """Part of ``serving.config.ServerConfig``; secrets are never settings, only the files that hold them."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    mode: Literal["development", "production"] = "development"
    """In production the server does not start without TLS, nor without tokens or callers' certificates, and does not
    describe itself by reflection. In development anybody who can connect may call, unless you say more."""

    tls_certificate: Path | None = None
    """The server's certificate in PEM, with those between it and the root after it. Renewed files are used from the
    next connection on; so are those of the settings below."""

    tls_key: Path | None = None
    """The private key of the certificate, in PEM without a password."""

    tls_client_ca: Path | None = None
    """The certificate authority, in PEM, whose client certificates may connect; without one, nobody is asked for a
    certificate."""

    callers: Path | None = None
    """A TOML file that says which client certificate is which caller, with which roles."""

    token_keys: Path | None = None
    """A JWKS file of the public keys that sign bearer tokens, each with its kid: RS256, ES256 or EdDSA."""

    token_issuer: str = ""
    """What tokens must have as iss."""

    token_audience: str = ""
    """What tokens must have as aud, or among it."""

    token_leeway_s: int = Field(default=30, ge=0, le=300)
    """How far the issuer's clock may differ, in seconds."""
