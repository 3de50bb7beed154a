"""Serves the API's documentation page, which sends no request to any other host."""

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler

from todo_app.http.exchange import Exchange, Header, Reply

# Swagger UI uses icons from `data:`, and sets styles by script, which needs no 'unsafe-inline'.
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TAKES_GZIP: Final = re.compile(
    rb"(?:^|,)[ \t]*gzip[ \t]*(?:;[ \t]*q=(?:1(?:\.0*)?|0\.\d{0,2}[1-9]\d*)[ \t]*)?(?:,|$)", re.IGNORECASE
)
_HEADER_MAX: Final = 1024
_FOLDER: Final = files("todo_app.http") / "swagger_ui"
_FILES: Final = {
    "/docs": ("page.html", "text/html; charset=utf-8"),
    "/docs/start.js": ("start.js", "text/javascript; charset=utf-8"),
    "/docs/look.css": ("look.css", "text/css; charset=utf-8"),
    "/docs/swagger-ui-bundle.js": ("swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"),
    "/docs/swagger-ui.css": ("swagger-ui.css.gz", "text/css; charset=utf-8"),
}


@dataclass(frozen=True)
class Asset:
    """A static file, compressed once and served with an entity tag."""

    zipped: bytes
    headers: tuple[Header, ...]

    @classmethod
    def of(cls, content: bytes, media_type: str, *headers: Header) -> "Asset":
        """An asset from content that may already be gzipped."""
        zipped = content if content.startswith(b"\x1f\x8b") else gzip.compress(content, mtime=0)
        usual = ((b"content-type", media_type.encode()), (b"cache-control", b"no-cache"), (b"vary", b"Accept-Encoding"))
        return cls(zipped, (*usual, *headers))

    @cached_property
    def plain(self) -> bytes:
        """The content uncompressed, for the few clients that need it."""
        return gzip.decompress(self.zipped)

    @cached_property
    def _digest(self) -> str:
        return sha256(self.zipped).hexdigest()[:32]

    def reply(self, exchange: Exchange) -> Reply:
        """The reply, with regard to `Accept-Encoding` and `If-None-Match` (RFC 9110 §12.5.3, §13.1.2)."""
        zipped = _TAKES_GZIP.search(_short(exchange.header(b"accept-encoding"))) is not None
        tag = f'"{self._digest}{"-gzip" if zipped else ""}"'.encode()
        headers = [*self.headers, (b"etag", tag)]
        known = _short(exchange.header(b"if-none-match")).split(b",")
        if {each.strip(b" \t").removeprefix(b"W/") for each in known} & {tag, b"*"}:
            return Reply(304, headers)
        if zipped:
            return Reply(200, [*headers, (b"content-encoding", b"gzip")], self.zipped)
        return Reply(200, headers, self.plain)


def _short(header: bytes | None) -> bytes:
    """That header; empty if it is longer than `_HEADER_MAX`: reading it would take milliseconds."""
    return header if header is not None and len(header) <= _HEADER_MAX else b""


def document_asset(document: Mapping[str, Any]) -> Asset:
    """The OpenAPI document as an asset."""
    return Asset.of(json.dumps(document, ensure_ascii=False).encode(), "application/json")


def docs_routes(root_path: str) -> list[HTTPRouteHandler]:
    """The routes of `/docs` and its files, and of `/`, which redirects to it."""
    policy = (b"content-security-policy", PAGE_POLICY.encode())
    files = [
        _route(path, Asset.of((_FOLDER / name).read_bytes(), media_type, policy))
        for path, (name, media_type) in _FILES.items()
    ]
    return [_root(f"{root_path}/docs"), *files]


def _root(docs: str) -> HTTPRouteHandler:
    @get("/")
    async def redirect() -> Reply:
        return Reply(307, [(b"location", docs.encode())])

    return redirect


def _route(path: str, asset: Asset) -> HTTPRouteHandler:
    @get(path)
    async def read(request: Request[Any, Any, Any]) -> Reply:
        return asset.reply(Exchange.of(request.scope))

    return read
