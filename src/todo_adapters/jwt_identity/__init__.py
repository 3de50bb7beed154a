"""Authentication by JWT: HS256 with a shared secret, or an issuer's public keys."""

from todo_adapters.jwt_identity.authenticator import JwtAuthenticator
from todo_adapters.jwt_identity.bearer import CredentialsRefused, bearer_token
from todo_adapters.jwt_identity.issue import issue_token
from todo_adapters.jwt_identity.policy import JwtPolicy

__all__ = ["CredentialsRefused", "JwtAuthenticator", "JwtPolicy", "bearer_token", "issue_token"]
