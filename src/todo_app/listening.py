"""The one socket that a server listens on: bound once, shared by its workers and with nobody else."""

import errno
import shlex
import socket
import sys
from typing import Final

from todo_app.settings import SettingsError

BACKLOG: Final = 1024  # connections that wait to be accepted
UNSENT_BYTES: Final = 64 * 1024  # of an answer that the system takes and cannot send yet
UNREAD_SECONDS: Final = 60  # for which what was sent may stay unread
# Another address of the same name may do where this machine does not have this one.
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Listener:
    """A TCP socket at the address that Python resolves `host` to; of several, the first IPv4 one that is here.

    Granian would bind the address itself, with SO_REUSEPORT: two servers of one user could then share a port.
    """

    def __init__(self, host: str, port: int) -> None:
        """Take the address. Raises `SettingsError` if it cannot be had, which `listen` may too."""
        self.host, self.port = host, port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.socket = self._bound()

    def listen(self) -> None:
        """Take connections from now on. Of two servers that bound the address at the same moment, one can."""
        try:
            self.socket.listen(BACKLOG)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Give the address back."""
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
        return SettingsError(
            f"--host {shlex.quote(self.host)} --port {self.port} cannot be used: {reason}; choose another {choose}"
        )


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger do not keep it
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # `::` is every address, IPv4 ones too
        _bound_unread_answers(made)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def _bound_unread_answers(made: socket.socket) -> None:
    """What a client does not read is to stay with us, where it counts; every connection inherits this.

    Otherwise the system keeps up to 4 MiB for each, and for as long as the client likes. Where it cannot be set, the
    proxy must bound it.
    """
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux's
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
