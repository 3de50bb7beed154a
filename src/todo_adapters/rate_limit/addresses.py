"""Connections to a store whose host has several addresses, some of which may not answer."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, ClassVar

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import Connection, SSLConnection


class _AnyAddress(Connection):
    """Tries the host's addresses in order, after one that swallowed packets the next one first.

    asyncio would begin with the same one each time, and never come further than our timeout allows.
    """

    first: ClassVar[int] = 0
    """The address to begin with; the one that answered last."""

    _address = ""

    async def _connect(self) -> None:
        found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        first = _AnyAddress.first
        for place in range(first, first + len(addresses)):
            self._address = addresses[place % len(addresses)]
            try:
                await super()._connect()  # type: ignore[no-untyped-call]
            except OSError:
                if place == first + len(addresses) - 1:
                    raise
            except asyncio.CancelledError:  # the timeout
                if _AnyAddress.first == first:  # others may have waited for it too
                    _AnyAddress.first = place + 1
                raise
            else:
                _AnyAddress.first = place
                return

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = {**super()._connection_arguments(), "host": self._address}
        return arguments | ({"server_hostname": self.host} if "ssl" in arguments else {})


class _AnyAddressWithTls(_AnyAddress, SSLConnection):
    pass


def try_all_addresses(connections: ConnectionPool) -> None:
    """Let connections be made to any address of the host."""
    has_tls = issubclass(connections.connection_class, SSLConnection)
    connections.connection_class = _AnyAddressWithTls if has_tls else _AnyAddress
