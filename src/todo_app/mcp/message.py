"""Reads a message of JSON-RPC 2.0 before the SDK does, which does not answer some invalid messages."""

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from todo_app.http.errors import MalformedRequest
from todo_app.http.reading import require_shallow

NO_MESSAGE: Final = (
    "Send one JSON-RPC 2.0 message in UTF-8, not a batch: an object with a method; a request has an id, which is a "
    "string or a whole number."
)


class Message(msgspec.Struct, frozen=True):
    """A request, a notification or an answer, as far as it must be right."""

    jsonrpc: Literal["2.0"]
    id: int | str | UnsetType | None = UNSET
    method: str | UnsetType = UNSET
    params: dict[str, Any] | UnsetType | None = UNSET
    result: dict[str, Any] | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET

    @property
    def asked(self) -> int | str | None:
        """The id that the answer to a request will name; None where there is no request."""
        return None if self.method is UNSET or self.id is UNSET else self.id

    @property
    def cancelled(self) -> int | str | None:
        """The id of the request that its sender wants no answer to any more."""
        if self.method != "notifications/cancelled" or not isinstance(self.params, dict):
            return None
        given = self.params.get("requestId")
        return given if isinstance(given, int | str) else None


_MESSAGE: Final = msgspec.json.Decoder(Message)


def read_message(body: bytes) -> Message:
    """The message. Raises `MalformedRequest` where there is none."""
    try:
        body.decode()
        require_shallow(body)
        message = _MESSAGE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise MalformedRequest(NO_MESSAGE) from None
    answers = message.result is not UNSET or message.error is not UNSET
    if (message.method is UNSET and not answers) or (message.method is not UNSET and message.id is None):
        raise MalformedRequest(NO_MESSAGE)
    return message
