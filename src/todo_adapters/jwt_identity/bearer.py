"""Takes the token out of an Authorization header, and names the ways of refusing one."""

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from todo_core import NotAuthenticated

BearerError: TypeAlias = Literal["invalid_request", "invalid_token"]

HEADER_BYTES: Final = 8192
"""The longest Authorization header, and the longest token, that is looked at."""

SHOWN: Final = 40
"""How many characters of a stranger's text a refusal shows."""

_SCHEME: Final = b"bearer"
# Not for the scheme as well: to ignore case makes the search through the token several times as slow.
_TOKEN = re.compile(rb" +([A-Za-z0-9\-._~+/]+=*)")


class CredentialsRefused(NotAuthenticated):
    """The credentials prove nobody. `error` is RFC 6750's word for it: None where there were no bearer credentials.

    The message is for logs. Of the token it holds at most `alg` and `kid`, as `shown` makes them; callers get the same
    answer whatever it says.
    """

    def __init__(self, reason: str, error: BearerError | None = "invalid_token") -> None:
        self.error = error
        super().__init__(reason)


def shown(text: str) -> str:
    """A stranger's text as a log may have it: ASCII, quoted, without control characters, and cut to a length."""
    return ascii(text[:SHOWN]) + ("…" if len(text) > SHOWN else "")


def bearer_token(header_values: Sequence[bytes]) -> str:
    """The token in the one Authorization header of a request, given every value that the request had (RFC 6750 §2.1).

    Raises `CredentialsRefused`: without an `error` where the request has no bearer credentials at all (§3.1).
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
