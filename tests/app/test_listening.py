"""The socket of a server: it listens where Python resolves the host, and no other server can share it."""

import errno
import os
import socket
from contextlib import closing, suppress

import pytest
from serving import free_port

from todo_app.listening import ListeningSocket
from todo_app.settings import SettingsError


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("localhost", ["localhost", "127.0.0.1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.1", ["127.0.0.1"]),
        ("0.0.0.0", ["127.0.0.1", "localhost"]),
        ("::1", ["::1"]),
        ("::", ["::1", "127.0.0.1"]),
        ("::ffff:127.0.0.1", ["127.0.0.1"]),
    ],
)
def test_every_host_that_python_resolves_is_listened_on(port: int, host: str, reached: list[str]) -> None:
    with closing(ListeningSocket(host, port)) as listener:
        with pytest.raises(ConnectionRefusedError):  # bound, and not yet serving
            socket.create_connection((reached[0], port), 5)
        listener.listen()
        for other in reached:
            socket.create_connection((other, port), 5).close()


def test_addresses_that_this_machine_does_not_have_are_skipped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = (socket.SOCK_STREAM, 6, "")
    found = [
        (socket.AF_INET6, *stream, ("::1", port, 0, 0)),
        (socket.AF_INET, *stream, ("192.0.2.1", port)),
        (socket.AF_INET, *stream, ("127.0.0.1", port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with closing(ListeningSocket("a.name", port)) as listener:
        assert listener.socket.getsockname() == ("127.0.0.1", port)
        assert listener.url == f"http://a.name:{port}"
        listener.listen()
        with pytest.raises(SettingsError, match="Address already in use"):  # and not at the next address instead
            ListeningSocket("a.name", port)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("", "--host '' "),
        ("..", "--host .. "),
        ("a" * 64, "not a host name"),
        ("\udcff", "not a host name"),
        ("no.such.invalid", "--host no.such.invalid "),
        ("192.0.2.1", os.strerror(99)),
        ("2001:db8::1", "--host 2001:db8::1 "),
    ],
)
def test_a_host_that_cannot_be_listened_on_is_refused_in_one_line(port: int, host: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        ListeningSocket(host, port)
    assert said in str(refused.value)
    assert str(refused.value).endswith("; choose another --host")
    assert str(refused.value).isprintable() or host == "\udcff"


def test_an_address_in_brackets_is_refused_with_the_address_to_write(port: int) -> None:
    with pytest.raises(SettingsError, match=r"--host '\[::1\]' .*; write ::1 without brackets$"):
        ListeningSocket("[::1]", port)


def test_only_one_of_two_listeners_with_the_same_address_listens(port: int) -> None:
    with closing(ListeningSocket("127.0.0.1", port)) as one, closing(ListeningSocket("127.0.0.1", port)) as two:
        two.listen()
        refused = f"--host 127.0.0.1 --port {port} cannot be used: Address already in use; choose another --port"
        with pytest.raises(SettingsError, match=refused):
            one.listen()
        with pytest.raises(SettingsError, match=refused):
            ListeningSocket("127.0.0.1", port)


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")
def test_a_port_is_not_shared_even_with_so_reuseport(port: int) -> None:
    with closing(ListeningSocket("127.0.0.1", port)) as listener, socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.listen()
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        with pytest.raises(SettingsError, match="already in use"):
            ListeningSocket("127.0.0.1", port)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT exists on Linux only")
def test_a_connection_whose_client_reads_nothing_holds_little_and_ends(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setattr("todo_app.listening.UNREAD_SECONDS", 3)
    taken = 0

    def send(ours: socket.socket) -> None:
        nonlocal taken
        while True:
            taken += ours.send(b"x" * 65536)

    with closing(ListeningSocket("127.0.0.1", port)) as listener:
        listener.listen()
        with socket.create_connection(("127.0.0.1", port)), listener.socket.accept()[0] as ours:
            ours.settimeout(0.2)
            with suppress(TimeoutError):
                send(ours)
            assert taken < 1_000_000
            ours.settimeout(60)
            with pytest.raises(TimeoutError) as ended:
                send(ours)
            assert ended.value.errno == errno.ETIMEDOUT  # of the connection, not of this test
