"""Which role each method needs. What stands here can be called, and nothing else."""

from __future__ import annotations

# Needs neither a role nor a name.
OPEN = ""

_RANKING = "/recsys.v1.RankingService"

METHOD_ROLE = {
    f"{_RANKING}/Rank": "rank",
    f"{_RANKING}/GetModelInfo": "rank",
    f"{_RANKING}/RecordEvents": "write",
    f"{_RANKING}/StreamEvents": "write",
    f"{_RANKING}/UpsertItems": "write",
    f"{_RANKING}/DeleteItems": "write",
    # All methods of these services.
    "/recsys.v1.AdminService/*": "admin",
    "/grpc.health.v1.Health/*": OPEN,
    # It shows what ranking.proto says, to whoever can connect, and only where the server was told to.
    "/grpc.reflection.v1alpha.ServerReflection/*": OPEN,
}


def role_of(method: str) -> str | None:
    """Return the role that a method needs, by its full name such as ``/package.Service/Method``; None: nobody may."""
    if (role := METHOD_ROLE.get(method)) is not None:
        return role
    return METHOD_ROLE.get(f"{method.rpartition('/')[0]}/*")
