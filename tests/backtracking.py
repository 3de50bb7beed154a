"""Attacks on a regular expression, made from the pattern itself, and what it costs to match them."""

import importlib
import re
import time
from collections.abc import Iterator
from itertools import chain, pairwise, product
from typing import Any, TypeAlias

Text: TypeAlias = "str | bytes"
Use: TypeAlias = "tuple[re.Pattern[Any], str]"
SCANNING = {"search", "sub", "subn", "findall", "finditer", "split"}
SIZES = (8, 12, 16, 20, 24, 28, 100, 400, 1_600, 6_400, 25_600, 100_000)
LOOK_FROM = 3_000_000  # nanoseconds: below it, noise is all that there is to measure
SUPERLINEAR = 2.5  # times as dear as the growth of the text explains
STRANGE = "\x00"  # no pattern wants it, so it makes them look back
SAMPLES = 'a0 ,;"\\/=-.é\n\x00'


def accepts(items: list[Any], char: str) -> bool:
    """Whether a set of the parser's has that character."""
    negated, found = False, False
    for name, value in items:
        match str(name):
            case "NEGATE":
                negated = True
            case "LITERAL":
                found |= chr(value) == char
            case "RANGE":
                found |= value[0] <= ord(char) <= value[1]
            case "CATEGORY":
                found |= category(str(value), char)
    return found != negated


def category(name: str, char: str) -> bool:
    known = {"DIGIT": char.isdecimal(), "SPACE": char.isspace(), "WORD": char.isalnum() or char == "_"}
    return known[name.rpartition("_")[2]] != ("_NOT_" in name)


def members(name: str, value: Any) -> list[str]:
    """Some characters that one step of a pattern takes; none, if it takes no character."""
    match name:
        case "LITERAL":
            return [chr(value)]
        case "NOT_LITERAL":
            return [char for char in SAMPLES if char != chr(value)][:2]
        case "ANY":
            return ["a"]
        case "IN":
            edges = [chr(code) for kind, each in value if str(kind) in {"LITERAL", "RANGE"} for code in edge(each)]
            return [char for char in dict.fromkeys([*SAMPLES, *edges, "\t"]) if accepts(value, char)][:2]
    return []


def edge(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


def below(name: str, value: Any) -> list[Any]:
    """The parts of which one step of a pattern consists, all alternatives of it."""
    match name:
        case "SUBPATTERN":
            return [value[3]]
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [value[2]]
        case "BRANCH":
            return list(value[1])
        case "ASSERT" | "ASSERT_NOT":
            return [value[1]]
        case "ATOMIC_GROUP":
            return [value]
    return []


def is_repeat(name: str) -> bool:
    return name.endswith("_REPEAT")


def sample(parts: Any) -> str:
    """Something that these steps take, each repetition once, or as often as it must be."""
    text = ""
    for kind, value in parts:
        name = str(kind)
        if name in {"ASSERT", "ASSERT_NOT"}:
            continue
        inside = sample(below(name, value)[0]) if below(name, value) else "".join(members(name, value)[:1])
        text += inside * max(1, value[0]) if is_repeat(name) else inside
    return text


def alphabet(parts: Any) -> set[str]:
    steps = [(str(kind), value) for kind, value in parts]
    found = chain.from_iterable(members(name, value) for name, value in steps)
    return {*found, *chain.from_iterable(alphabet(part) for name, value in steps for part in below(name, value))}


def repeats(parts: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every repetition, with something that leads up to it."""
    for kind, value in parts:
        name = str(kind)
        for part in below(name, value):
            if is_repeat(name):
                yield before, part
            yield from repeats(part, before)
        if name not in {"ASSERT", "ASSERT_NOT"}:
            before += sample([(kind, value)])


def attacks(pattern: re.Pattern[Any]) -> list[tuple[str, str, str]]:
    """What to write before, again and again, and behind."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = importlib.import_module("re._parser").parse(source, pattern.flags & ~re.UNICODE)
    found = [("", sample(tree))]
    for before, part in repeats(tree):
        chars = sorted(alphabet(part))[:6]
        units = {*chars, *map("".join, product(chars, repeat=2)), sample(part)} - {""}
        found += [(before, unit) for unit in units] + [("", before + sample(part))]
    return [(before, unit, behind) for before, unit in dict.fromkeys(found) for behind in ("", STRANGE)]


def run(use: Use, text: Text) -> None:
    pattern, method = use
    if method in SCANNING:
        pattern.sub("" if isinstance(text, str) else b"", text)  # looks everywhere, as all of these may
    else:
        pattern.fullmatch(text)  # tries all that `match` would, and more


def cost(use: Use, text: Text, times: int) -> int:
    """Nanoseconds of this thread, of the cheapest of so many runs."""

    def once() -> int:
        began = time.thread_time_ns()
        run(use, text)
        return time.thread_time_ns() - began

    return min(once() for _ in range(times))


def grown(use: Use, attack: tuple[str, str, str]) -> str | None:
    """Where the cost grows faster than the text, in every measurement."""

    def text(size: int) -> Text:
        before, unit, behind = attack
        whole = before + unit * (size // len(unit)) + behind
        return whole if isinstance(use[0].pattern, str) else whole.encode("latin-1", "replace")

    for small, large in pairwise(SIZES):
        explained = SUPERLINEAR * large / small
        first = cost(use, text(large), 1)
        if first < LOOK_FROM or first <= explained * cost(use, text(small), 5):
            continue
        again = cost(use, text(large), 5)
        ratio = again / max(1, cost(use, text(small), 5))
        if again >= LOOK_FROM and ratio > explained:
            return f"{use[1]} of {attack} costs {ratio:.0f} times as much for {large} characters as for {small}"
    return None


def pumped(pattern: re.Pattern[Any], method: str) -> str | None:
    return next((found for attack in attacks(pattern) if (found := grown((pattern, method), attack))), None)
