"""How many examples the tests try: all in CI, fewer elsewhere."""

import os
import sys

IN_CI = bool(os.environ.get("CI"))


def examples(in_ci: int) -> int:
    """So many random examples in CI, and a tenth elsewhere. What a developer's runs miss, CI's find."""
    return in_ci if IN_CI else max(in_ci // 10, 5)


def code_points() -> list[int]:
    """All of Unicode in CI; elsewhere the first two planes, what is special behind them, and some of the rest."""
    special = [*range(0x2F800, 0x2FA20), *range(0xE0000, 0xE0200), sys.maxunicode]
    return (
        [*range(sys.maxunicode + 1)] if IN_CI else sorted({*range(0x20000), *range(0x20000, 0x110000, 251), *special})
    )
