"""Takes the token from an Authorization header, and defines the error for credentials that are refused."""

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from todo_core import NotAuthenticated

BearerError: TypeAlias = Literal["invalid_request", "invalid_token"]

HEADER_BYTES: Final = 8192
"""The longest Authorization header, and the longest token, that is accepted."""

SHOWN: Final = 40
"""How many characters of unverified text a refusal shows."""

_SCHEME: Final = b"bearer"
# Without the scheme: `re.IGNORECASE` would make the search through the token several times slower.
_TOKEN = re.compile(rb" +([A-Za-z0-9\-._~+/]+=*)")


class CredentialsRefused(NotAuthenticated):
    """The credentials are refused. `error` is RFC 6750's code (§3.1), None if there were no bearer credentials.

    The message is for logs; callers get the same answer for every reason. It contains nothing of the token but `alg`
    and `kid`, made safe by `shown`.
    """

    def __init__(self, reason: str, error: BearerError | None = "invalid_token") -> None:
        self.error = error
        super().__init__(reason)


def shown(text: str) -> str:
    """Unverified text made safe for a log: ASCII, quoted, without control characters, and shortened."""
    return ascii(text[:SHOWN]) + ("…" if len(text) > SHOWN else "")


def bearer_token(header_values: Sequence[bytes]) -> str:
    """The bearer token of a request, from all values of its Authorization header (RFC 6750 §2.1).

    Raises `CredentialsRefused`, without an `error` if the request has no bearer credentials (§3.1).
    """
    if not header_values:
        raise CredentialsRefused("no Authorization header", error=None)
    if len(header_values) > 1:
        raise CredentialsRefused("several Authorization headers", error="invalid_request")
    value = header_values[0]
    if len(value) > HEADER_BYTES:
        raise CredentialsRefused("the Authorization header is too long", error="invalid_request")
    if value.split(b" ", 1)[0].lower() != _SCHEME:
        raise CredentialsRefused("the Authorization header has another scheme than bearer", error=None)
    if (match := _TOKEN.fullmatch(value, len(_SCHEME))) is None:
        raise CredentialsRefused("the Authorization header is malformed", error="invalid_request")
    return match[1].decode("ascii")
