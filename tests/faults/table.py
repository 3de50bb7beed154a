"""The table of the faults: what was sent, how it was answered, and how soon the service was back."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from faults.followers import Followers
from faults.ledger import Verdict
from faults.load import Load

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
HEAD = (
    "fault", "writes sent", "acknowledged", "refused (4xx)", "503", "no answer", "of those two, done",
    "lost", "doubled", "otherwise wrong", "pages streamed", "streams begun", "copies begun anew", "slowest answer, s",
    "back after, s", "memory grew by, MiB",
)  # fmt: skip


class Row(NamedTuple):
    """One line of it."""

    fault: str
    sent: int
    acknowledged: int
    refused: int
    unavailable: int
    unanswered: int
    done: int
    lost: int
    doubled: int
    wrong: int
    pushed: int
    streams: int
    anew: int
    slowest: str
    recovery: str
    grown: str

    @classmethod
    def of(
        cls, fault: str, load: Load, followers: Followers, verdict: Verdict, recovery: float | None, grown: float
    ) -> "Row":
        """The line for a load that has ended."""
        names = ("sent", "acknowledged", "refused", "503", "no answer")
        counts = [load.ledger.outcomes[name] for name in names]
        lost, *wrong = (len(each) for each in verdict)
        streamed = [followers.count(name) for name in ("pushed", "streams", "begun anew")]
        recovered = "–" if recovery is None else f"{recovery:.1f}"
        return cls(
            fault, *counts, load.ledger.happened, lost + load.ledger.given_up, *wrong, *streamed,
            f"{load.slowest.seconds:.1f}", recovered, f"{grown:.0f}",
        )  # fmt: skip


def as_markdown(rows: Sequence[Row]) -> str:
    lines = [HEAD, ["---", *["---:"] * (len(HEAD) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def put(rows: Sequence[Row]) -> None:
    """Put it between the document's markers."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{as_markdown(rows)}\n{END}{rest.partition(END)[2]}")
