"""Makes loading modules cheaper: without collections, and without optional packages that are not used here."""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


@contextmanager
def without_collections() -> Iterator[None]:
    """A context without garbage collections: while modules load, they free nothing and take a sixth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def without_packages(*packages: str) -> Iterator[None]:
    """A context in which these packages cannot be imported, unless they were before."""
    finder = _Blocker([name for name in packages if name not in sys.modules])
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Blocker(MetaPathFinder):
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"{fullname} is not loaded here", name=fullname)
        return None
