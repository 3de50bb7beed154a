"""How much the tests try: all of it in CI, a part of what is drawn at random or counted through elsewhere."""

import os
import sys

IN_CI = bool(os.environ.get("CI"))


def examples(in_ci: int) -> int:
    """So many random examples in CI, and a tenth elsewhere. What a developer's runs miss, CI's find."""
    return in_ci if IN_CI else max(in_ci // 10, 5)


def code_points() -> list[int]:
    """All of Unicode in CI; elsewhere the first two planes, where nearly all rules differ, and some of each other."""
    return [*range(0x20000), *range(0x20000, sys.maxunicode + 1, 1 if IN_CI else 251), sys.maxunicode]
