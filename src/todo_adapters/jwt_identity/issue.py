"""Issues HS256 tokens, for trying the service and for scripts that have the secret."""

from collections.abc import Collection
from datetime import datetime, timedelta

import jwt

from todo_adapters.jwt_identity.policy import check_secret
from todo_core import Scope, owner_id


def issue_token(
    secret: bytes,
    subject: str,
    expires_in: timedelta,
    now: datetime,
    *,
    issuer: str | None = None,
    audience: str | None = None,
    scopes: Collection[Scope] | None = None,
) -> str:
    """A token for `subject` that is valid from `now` for `expires_in`, in whole seconds.

    `scopes` is what it allows, None allows everything. Raises `InvalidInput` if `subject` cannot name an owner,
    `ValueError` for a weak secret, less than one second, or an empty `scopes`.
    """
    check_secret(secret)
    seconds = int(expires_in.total_seconds())
    if seconds < 1:
        raise ValueError("a token must be valid for a second at least")
    if scopes is not None and not scopes:
        raise ValueError("a token must allow something: without any scope it would allow everything")
    issued_at = int(now.timestamp())
    claims: dict[str, object] = {"sub": owner_id(subject), "iat": issued_at, "exp": issued_at + seconds}
    scope = None if scopes is None else " ".join(scopes)
    more = {"iss": issuer, "aud": audience, "scope": scope}
    claims |= {name: value for name, value in more.items() if value is not None}
    return jwt.encode(claims, secret, algorithm="HS256")
