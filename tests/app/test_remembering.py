"""What was made of a short text is remembered, of a long one it is not, and neither is a failure."""

import pytest

from todo_app.api.remembering import REMEMBERED, SHORT, remembered_if_short


def test_only_short_texts_are_remembered_and_only_the_latest() -> None:
    read: list[bytes] = []

    @remembered_if_short
    def length(text: bytes) -> int:
        read.append(text)
        return len(text)

    for text, times in ((b"x" * SHORT, 1), (b"x" * (SHORT + 1), 2)):
        read.clear()
        assert [length(text) for _ in range(2)] == [len(text)] * 2
        assert len(read) == times
    read.clear()
    for number in range(REMEMBERED):
        length(b"%d" % number)
    length(b"x" * SHORT)
    assert len(read) == REMEMBERED + 1


def test_a_failure_is_not_remembered() -> None:
    failing = True

    @remembered_if_short
    def read(_: bytes) -> bool:
        if failing:
            raise LookupError
        return True

    with pytest.raises(LookupError):
        read(b"")
    failing = False
    assert read(b"")
