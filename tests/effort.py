"""How much the tests try: all of it in CI, a part of what is drawn at random elsewhere."""

import os

IN_CI = bool(os.environ.get("CI"))


def examples(in_ci: int) -> int:
    """So many random examples in CI, and a tenth elsewhere. What a developer's runs miss, CI's find."""
    return in_ci if IN_CI else max(in_ci // 10, 5)
