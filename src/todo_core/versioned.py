"""What tasks and lists have in common: a version that tells every change, and moments that never run backwards."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NewType, Self, TypeAlias

from todo_core.errors import VersionConflict

Version = NewType("Version", int)
"""How often a thing has been written: 1 when it is created, one more with every change."""

Expected: TypeAlias = Version | Collection[Version] | None
"""The version or versions at which a caller wants the thing to be; None for any."""


class Versioned:
    """A frozen dataclass with a `version` and the moment of its last change, `updated_at`."""

    __slots__ = ()
    version: Version
    updated_at: datetime

    def expecting(self, expected: Expected) -> Self:
        """This thing, if it is at (one of) the expected version(s); otherwise raises `VersionConflict`."""
        if expected is None or self.version == expected:
            return self
        if isinstance(expected, Collection) and self.version in expected:
            return self
        raise VersionConflict(self.version)

    def with_stored(self, at: datetime, values: Mapping[str, object]) -> Self:
        """With these members, as they are stored; itself if it has them already."""
        if all(getattr(self, name) == value for name, value in values.items()):
            return self
        version = Version(self.version + 1)
        changed: Any = self
        return replace(changed, version=version, updated_at=self._moment(at), **values)  # type: ignore[no-any-return]

    def _moment(self, at: datetime) -> datetime:
        # Clocks of several machines differ: time must not run backwards within one thing.
        return max(at, self.updated_at)
