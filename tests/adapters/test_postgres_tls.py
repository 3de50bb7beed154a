"""A PostgreSQL that accepts TLS only, as hosted ones do: an installed one, since the wheel's has no TLS."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from databases import roomy_folder
from factories import ANN, make_task
from pages import ROOT, blocks_of
from serving import Server, eventually, free_port, run

from todo_adapters.embedded.account import Account
from todo_adapters.postgres import PostgresTaskStore, create_engine
from todo_adapters.postgres.migrations import is_current, migrate
from todo_core import StoreUnavailable
from todo_core.testing.writing import add

PASSWORD = "of the tests"
HBA = "hostssl all all 127.0.0.1/32 scram-sha-256\nhostnossl all all 127.0.0.1/32 reject\n"
NEONS_ADDRESS = re.compile(r"postgresql://USER:PASSWORD@ep-NAME(?:-pooler)?\.REGION\.aws\.neon\.tech/DB")
SETTINGS = {
    "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "ssl": "on", "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key", "fsync": "off",
}  # fmt: skip


def programs() -> Path | None:
    """The folder of an installed PostgreSQL that speaks TLS."""
    folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    if (found := shutil.which("postgres")) is not None:
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        with suppress(OSError, subprocess.CalledProcessError):
            asked = subprocess.run([folder / "pg_config", "--configure"], capture_output=True, text=True, check=True)
            if "ssl" in asked.stdout:
                return folder
    return None


@dataclass
class TlsServer:
    """Where it listens, and the certificate that proves it."""

    port: int
    certificate: Path

    def url(self, **options: str) -> str:
        """The address, with these options of libpq's."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://owner:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/postgres?{query}"


def make_certificate(folder: Path, *, name: str) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / f"{name}.key").chmod(0o600)
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    return folder / f"{name}.crt"


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    """The server, with a user `owner`."""
    if (found := programs()) is None:
        pytest.skip("no PostgreSQL with TLS is installed")
    folder = Path(tempfile.mkdtemp(prefix="todo-tls-", dir=roomy_folder()))
    account = Account.for_cluster(folder)
    (folder / "password").write_text(PASSWORD)
    for path in (folder, folder / "password"):
        account.give(path)
    options: dict[str, Any] = {"cwd": folder, "env": {"LC_ALL": "C"}, **account.process_options()}
    initdb = [found / "initdb", "-D", "data", "-U", "owner", "-A", "scram-sha-256", "--pwfile=password", "-E", "UTF8"]
    subprocess.run([*initdb, "--no-sync"], capture_output=True, check=True, **options)
    (folder / "data/pg_hba.conf").write_text(HBA)
    certificate = make_certificate(folder / "data", name="server")
    for name in ("server.crt", "server.key"):
        account.give(folder / "data" / name)
    tls = TlsServer(free_port(), certificate)
    arguments = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    command = [found / "postgres", "-D", "data", "-p", f"{tls.port}", *arguments]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **options) as process:
        try:
            eventually(lambda: process.poll() is not None or answers(tls), 30)
            yield tls
        finally:
            process.send_signal(2)
            process.wait(30)
            shutil.rmtree(folder)


def answers(server: TlsServer) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(server.url(sslmode="require")).close()
        return True
    return False


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sslmode": "require"},
        {"sslmode": "require", "channel_binding": "require"},
        {"sslmode": "verify-full", "sslrootcert": "THE"},
    ],
)
async def test_everything_goes_through_tls(server: TlsServer, options: dict[str, str]) -> None:
    url = server.url(**{name: value.replace("THE", str(server.certificate)) for name, value in options.items()})
    migrate(url)
    assert is_current(url)
    engine = create_engine(url)
    tasks = (store := PostgresTaskStore(engine)).tasks_of(ANN)
    await store.ready()
    await add(tasks, task := make_task())
    assert await tasks.get(task.id) == task
    async with engine.connect() as connection:
        ours = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
        assert await (await connection.execute(ours)).fetchone() == (True, "TLSv1.3")
    await store.aclose()
    await engine.dispose()


def test_a_server_runs_on_the_settings_that_the_page_on_neon_shows(server: TlsServer, tmp_path: Path) -> None:
    (settings,) = blocks_of(ROOT / "docs/deploy-neon.md")
    text, count = NEONS_ADDRESS.subn(server.url().rstrip("?"), settings.text)
    assert count == 2
    (tmp_path / ".env").write_text(text)
    load = ["bash", "-c", "set -a; . ./.env; set +a; env"]  # as .env.example says
    loaded = subprocess.run(load, cwd=tmp_path, env={}, capture_output=True, text=True, check=True).stdout
    variables = dict(line.split("=", 1) for line in loaded.splitlines() if line.split("=")[0] in text)
    assert "&channel_binding=" in variables["DATABASE_URL"]
    assert set(variables) > {"DATABASE_URL", "TODO_MIGRATIONS_DATABASE_URL"}
    assert (migrated := run("migrate", **variables)).returncode == 0, migrated.stderr
    running = Server(tmp_path, **variables)
    try:
        assert httpx.get(f"{running.started().url}/health/ready", trust_env=False).status_code == 200
    finally:
        running.discard()


@pytest.mark.parametrize("options", [{"sslmode": "disable"}, {"sslmode": "verify-full", "sslrootcert": "OTHER"}])
async def test_connections_without_tls_or_to_the_wrong_server_are_refused(
    server: TlsServer, options: dict[str, str], tmp_path: Path
) -> None:
    other = str(make_certificate(tmp_path, name="other"))
    url = server.url(**{name: value.replace("OTHER", other) for name, value in options.items()})
    with pytest.raises(StoreUnavailable):
        is_current(url)
    engine = create_engine(url)
    with pytest.raises(StoreUnavailable):
        await PostgresTaskStore(engine).ready()
    await engine.dispose()
