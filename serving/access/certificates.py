"""Client certificates: which caller each of them is, from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from recsys.errors import InvalidRequest, PermissionDenied
from serving.access.caller import PRIORITIES, ROLES, Caller
from serving.access.renewed import Renewed

_FIELDS = {"name", "certificates", "roles", "priority"}


class Certificates:
    """Knows callers by the names in the certificate that they connected with; TLS has verified it."""

    def __init__(self, callers: Renewed[Mapping[str, Caller]]) -> None:
        self._callers = callers

    def caller_of(self, peer: Mapping[str, Sequence[bytes]]) -> Caller:
        """Return whose certificate it is; ``peer`` is what gRPC's ``auth_context`` says.

        The subject's common name counts only where there are no subject alternative names.

        Raises:
            PermissionDenied: it is nobody's, or that of several callers.
        """
        names = peer.get("x509_subject_alternative_name") or peer.get("x509_common_name") or ()
        callers = self._callers.get()
        found = {caller.name: caller for name in names if (caller := callers.get(name.decode(errors="replace")))}
        if len(found) != 1:
            whose = "several callers" if found else "no caller"
            raise PermissionDenied(f"the client certificate is that of {whose} of this service; have its names entered")
        return next(iter(found.values()))


def read_callers(data: bytes) -> Mapping[str, Caller]:
    """Read callers by the names in their certificates.

    Raises:
        ValueError: it is no such file; says where.
    """
    try:
        listed = tomllib.loads(data.decode())["caller"]
    except (ValueError, KeyError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise ValueError("it is no TOML in UTF-8 with [[caller]] tables")  # noqa: TRY004 - it is the file that is wrong
    callers: dict[str, Caller] = {}
    for place, entry in enumerate(listed, start=1):
        caller = _caller(entry, f"caller {place}")
        for name in entry["certificates"]:
            if callers.setdefault(name, caller) is not caller:
                raise ValueError(f"caller {place} has a certificate name that an earlier one has too")
    return callers


def _caller(entry: Any, place: str) -> Caller:
    if not isinstance(entry, dict) or not {"name", "certificates", "roles"} <= entry.keys() <= _FIELDS:
        raise ValueError(f"{place} needs name, certificates and roles, may have priority, and nothing else")
    names, roles, priority = entry["certificates"], entry["roles"], entry.get("priority", PRIORITIES[0])
    if not _texts(names) or not all(names):
        raise ValueError(f"certificates of {place} is no list of names")
    if not _texts(roles) or not set(roles) <= set(ROLES):
        raise ValueError(f"roles of {place} is no list out of {', '.join(ROLES)}")
    if priority not in PRIORITIES:
        raise ValueError(f"priority of {place} is none of {', '.join(PRIORITIES)}")
    try:
        return Caller(name=str(entry["name"]), roles=frozenset(roles), priority=priority)
    except InvalidRequest as error:
        raise ValueError(f"name of {place}: {error}") from None


def _texts(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)
