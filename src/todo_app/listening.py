"""The server's listening socket: bound once, and shared by its workers only."""

import errno
import shlex
import socket
from typing import Final

from todo_app.settings import SettingsError

BACKLOG: Final = 1024  # connections that wait to be accepted
UNSENT_BYTES: Final = 64 * 1024  # of an answer that the system buffers
UNREAD_SECONDS: Final = 60  # until a connection ends on which the client reads nothing
# This machine does not have the address: try another one of the same name.
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class ListeningSocket:
    """A TCP socket bound to an address of `host`: the first that this machine has, IPv4 before IPv6.

    Granian would bind with SO_REUSEPORT, so that two servers of one user could share a port by mistake.
    """

    def __init__(self, host: str, port: int) -> None:
        """Bind the address. Raises `SettingsError` if it is not available; so may `listen`."""
        self.host, self.port = host, port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.socket = self._bound()

    def listen(self) -> None:
        """Accept connections. If two servers bound the address at the same moment, only one can listen."""
        try:
            self.socket.listen(BACKLOG)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Release the address."""
        self.socket.close()

    def _bound(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:
            raise self._refused(error) from error
        refusals = []
        for family, *_, address in sorted(found, key=lambda entry: entry[0] != socket.AF_INET):
            try:
                return _bind(family, address)
            except OSError as error:
                refusals.append(error)
                if error.errno not in _NOT_HERE:
                    break
        raise self._refused(refusals[-1])

    def _refused(self, error: OSError | UnicodeError) -> SettingsError:
        number, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (None, "not a host name")
        choose = "--port" if number in {errno.EADDRINUSE, errno.EACCES} else "--host"
        way_out = f"choose another {choose}"
        if self.host.startswith("[") and self.host.endswith("]") and ":" in self.host:
            way_out = f"write {shlex.quote(self.host[1:-1])} without brackets"
        return SettingsError(f"--host {shlex.quote(self.host)} --port {self.port} cannot be used: {reason}; {way_out}")


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # also while old connections linger
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # `::` includes IPv4
        _bound_unread_answers(made)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def _bound_unread_answers(made: socket.socket) -> None:
    """Limit what the system buffers for clients that do not read. Every connection inherits it.

    Otherwise the system buffers up to 4 MiB per connection, for as long as the client likes. Where this cannot be set,
    the proxy must limit it.
    """
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux's
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
