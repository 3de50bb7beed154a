"""The caller's identity: the owner, the client program, and the scopes."""

from dataclasses import dataclass, field
from math import inf
from typing import Final, Literal, TypeAlias, TypeGuard, get_args

from todo_core.task import OwnerId

Scope: TypeAlias = Literal["tasks:read", "tasks:write", "tasks:delete"]
"""What a token may allow (RFC 6749 §3.3)."""

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""All scopes."""

CLIENT_LENGTH: Final = 255


def is_client(value: object) -> TypeGuard[str]:
    """Whether `value` can name a program in the log: 1 to 255 printable characters."""
    return isinstance(value, str) and 1 <= len(value) <= CLIENT_LENGTH and value.isprintable()


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller. `client`: the program, if the credentials name one. `scopes`: what it may do; None allows everything.

    `until`: when the credentials expire, in seconds of the Unix epoch; not compared. Raises `ValueError` for a client
    that is not 1 to 255 printable characters.
    """

    owner: OwnerId
    client: str | None = None
    scopes: frozenset[Scope] | None = None
    until: float = field(default=inf, compare=False)

    def __post_init__(self) -> None:
        if not (self.client is None or is_client(self.client)):
            raise ValueError(f"a client is named by 1 to {CLIENT_LENGTH} printable characters")

    def may(self, scope: Scope) -> bool:
        """Whether this scope is granted."""
        return self.scopes is None or scope in self.scopes
