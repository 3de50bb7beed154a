"""Texts for searches folded by case and NFKC, no longer by case alone. No table changes, only what is in one."""

from collections.abc import Callable
from typing import Final, TypeAlias
from unicodedata import normalize
from uuid import UUID

import sqlalchemy as sa

revision: Final = "0003"
down_revision: Final = "0002"

_Key: TypeAlias = tuple[str, UUID]
_START: Final[_Key] = ("", UUID(int=0))  # before every key: no owner is empty
_PIECE: Final = 1000  # tasks: some tens of milliseconds
_MARK: Final = "\x1e"  # in front of a text that is folded by this revision's rule

_LAST: Final = sa.text("""
    select user_id, id from tasks where (user_id, id) > (:owner, :id) order by user_id, id offset :most - 1 limit 1
""")
# What somebody is writing at this moment is left out: a server of the version before may write more of it anyway.
_CHOSEN: Final = sa.text("""
    select user_id, id, title, coalesce(description, '') from tasks join (
        select user_id, id from tasks where (user_id, id) > (:owner, :id) order by user_id, id limit :most
    ) as piece using (user_id, id)
    where (left(search_text, 1) = :mark) <> :anew
    order by user_id, id for no key update of tasks skip locked
""")
_WRITE: Final = sa.text("""
    update tasks set search_text = anew.text
    from unnest(cast(:owners as text[]), cast(:ids as uuid[]), cast(:texts as text[])) as anew (owner, task, text)
    where user_id = owner and id = task
""")


def upgrade() -> None:
    """Nothing is left to do: `upgrade_piece` has been through the table."""


def downgrade() -> None:
    """Nothing is left to do: `downgrade_piece` has been through the table."""


def upgrade_piece(connection: sa.Connection, after: _Key | None) -> _Key | None:
    """Fold those of the next tasks behind this one that are not folded so yet; the last of them if there are more."""
    return _piece(connection, after or _START, _folded, anew=True)


def downgrade_piece(connection: sa.Connection, after: _Key | None) -> _Key | None:
    """As `upgrade_piece`, back to the rule of before."""
    return _piece(connection, after or _START, _folded_before, anew=False)


def _piece(connection: sa.Connection, after: _Key, fold: Callable[[str, str], str], *, anew: bool) -> _Key | None:
    bounds = {"owner": after[0], "id": after[1], "most": _PIECE}
    last = connection.execute(_LAST, bounds).one_or_none()
    rows = connection.execute(_CHOSEN, {**bounds, "mark": _MARK, "anew": anew}).all()
    if rows:
        owners, ids, titles, descriptions = map(list, zip(*rows, strict=True))
        texts = list(map(fold, titles, descriptions))
        connection.execute(_WRITE, {"owners": owners, "ids": ids, "texts": texts})
    return None if last is None else (last.user_id, last.id)


def _folded(title: str, description: str) -> str:
    return normalize("NFKC", normalize("NFKC", f"{_MARK}{title}\x1f{description}").casefold())


def _folded_before(title: str, description: str) -> str:
    return f"{title}\x1f{description}".casefold()
