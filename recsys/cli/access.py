"""How the command line makes itself known to a server that lets in not everybody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from recsys.errors import ConfigError

if TYPE_CHECKING:
    from serving.client import Credentials

CaOption = Annotated[
    Path | None,
    typer.Option(help="Who signed the server's certificate, PEM", show_default="no TLS; with a token, the system's"),
]
CertificateOption = Annotated[Path | None, typer.Option(help="Your own certificate, PEM", show_default="none")]
KeyOption = Annotated[Path | None, typer.Option(help="Its private key, PEM", show_default="none")]
TokenOption = Annotated[
    Path | None, typer.Option(help="File with a token that has the role for it", show_default="none")
]


class Access(TypedDict):
    """What clients take."""

    credentials: Credentials | None
    token: str | None


def access(ca: Path | None, certificate: Path | None, key: Path | None, token_file: Path | None) -> Access:
    """Return the credentials that the options name; a token goes by TLS only.

    Raises:
        ConfigError: the token cannot be read, or a certificate has no key.
    """
    from serving.client import Credentials  # noqa: PLC0415

    try:
        token = None if token_file is None else token_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{token_file} cannot be read: {error.strerror}; name a file with a token") from None
    secure = any(each is not None for each in (ca, certificate, key, token))
    return Access(credentials=Credentials(ca=ca, certificate=certificate, key=key) if secure else None, token=token)
