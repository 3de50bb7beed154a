"""What tasks and lists have in common: a version that rises with every change, and times that never go back."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NewType, Self, TypeAlias

from todo_core.errors import VersionConflict

Version = NewType("Version", int)
"""A thing's version: 1 when it is created, one more with every change."""

Expected: TypeAlias = Version | Collection[Version] | None
"""The version, or versions, that a caller expects the thing to have; None for any."""


class Versioned:
    """A frozen dataclass with a `version` and the time of its last change, `updated_at`."""

    __slots__ = ()
    version: Version
    updated_at: datetime

    def expecting(self, expected: Expected) -> Self:
        """The thing itself. Raises `VersionConflict` unless it has an expected version."""
        if expected is None or self.version == expected:
            return self
        if isinstance(expected, Collection) and self.version in expected:
            return self
        raise VersionConflict(self.version)

    def with_stored(self, at: datetime, values: Mapping[str, object]) -> Self:
        """A copy with these stored members, one version later; the thing itself if no value differs."""
        if all(getattr(self, name) == value for name, value in values.items()):
            return self
        version = Version(self.version + 1)
        changed: Any = self
        return replace(changed, version=version, updated_at=self._moment(at), **values)  # type: ignore[no-any-return]

    def _moment(self, at: datetime) -> datetime:
        # The clocks of several machines differ.
        return max(at, self.updated_at)
