"""Makes HS256 tokens, for trying the service and for scripts that hold the secret."""

from datetime import datetime, timedelta

import jwt

from todo_adapters.jwt_identity.policy import check_secret
from todo_core import owner_id


def issue_token(
    secret: bytes,
    subject: str,
    expires_in: timedelta,
    now: datetime,
    *,
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """A token that proves `subject` from `now` on for `expires_in`, counted in whole seconds.

    Raises `InvalidInput` where `subject` cannot name an owner, `ValueError` for a weak secret or under one second.
    """
    check_secret(secret)
    seconds = int(expires_in.total_seconds())
    if seconds < 1:
        raise ValueError("a token must be valid for a second at least")
    issued_at = int(now.timestamp())
    claims: dict[str, object] = {"sub": owner_id(subject), "iat": issued_at, "exp": issued_at + seconds}
    claims |= {name: value for name, value in (("iss", issuer), ("aud", audience)) if value is not None}
    return jwt.encode(claims, secret, algorithm="HS256")
