"""Records the result of every write, and then compares it with the database."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import psycopg
from faults.database import Database


class State(NamedTuple):
    """What a request can change of a task."""

    completed: bool
    description: str | None
    version: int


Body: TypeAlias = dict[str, Any]
GONE = None
PADDING = "." * 900  # tasks of some size fill pages, and disks
# Numbers ascend from 1 without a gap: there are as many as the last one says.
GAPS = """
select user_id, owners.number, count(distinct changes.number) from owners left join changes using (user_id)
group by user_id, owners.number
having owners.number <> count(distinct changes.number) or owners.number <> max(changes.number)
"""
NEW = State(completed=False, description=PADDING, version=1)


class Answer(NamedTuple):
    """What came back: status 0 stands for nothing at all."""

    status: int
    body: Body
    seconds: float = 0.0
    asked: str = ""
    change: int = 0
    """The number that the answer gives the change, if it gives one."""

    @property
    def is_unknown(self) -> bool:
        """Whether the write may have happened: it was never answered, or with 503."""
        return self.status == 0 or self.status in {500, 502, 503, 504}


@dataclass
class Known:
    """A task that was acknowledged, and what an unanswered change would have made of it."""

    title: str
    url: str
    state: State | None = NEW
    doubt: State | None = NEW
    writes: int = 1
    """How many were acknowledged."""


class Verdict(NamedTuple):
    """What the database says against the ledger; everything in it should be 0."""

    lost: list[str]
    doubled: list[str]
    wrong: list[str]


@dataclass
class Ledger:
    """All writes of one scenario. Each task has one writer, who leaves it alone once something about it is unknown."""

    outcomes: Counter[str] = field(default_factory=Counter)
    tasks: dict[str, Known] = field(default_factory=dict)
    unknown: dict[str, bool] = field(default_factory=dict)  # creations by title: whether they had a key
    refused: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    happened: int = 0
    numbers: dict[str, int] = field(default_factory=dict)  # each user's last change that was acknowledged
    given_up: int = 0

    def created(self, title: str, answer: Answer, *, keyed: bool) -> Known | None:
        """Note a creation of `NEW` under that title, which nobody else uses; the task if it was acknowledged."""
        self._count(answer)
        if answer.is_unknown:
            self.unknown[title] = keyed
        elif answer.status != 201:
            self._complain(f"creation of {title}", answer)
        else:
            self.tasks[title] = Known(title, f"/api/{answer.body['user_id']}/tasks/{answer.body['id']}")
            self._compare(title, answer, NEW)
            self._number(title, answer)
            return self.tasks[title]
        return None

    def created_in_vain(self, title: str, answer: Answer) -> None:
        """Note a creation that had to be refused."""
        self._count(answer)
        self.refused.add(title)
        if not answer.is_unknown and answer.status != 422:
            self._complain(f"bad creation of {title}", answer)

    def changed(self, task: Known, answer: Answer, after: State | None) -> None:
        """Note a change that leads to that state."""
        self._count(answer)
        task.doubt = after
        if answer.is_unknown:
            return
        task.state = after
        task.writes += 1
        if answer.status not in {200, 204}:
            self._complain(f"change of {task.title}", answer)
            return
        self._number(task.title, answer)
        if after is not GONE:
            self._compare(task.title, answer, after)

    def changed_in_vain(self, task: Known, answer: Answer) -> None:
        """Note a change that had to be refused because it was meant for another version."""
        self._count(answer)
        if not answer.is_unknown and answer.status != 412:
            self._complain(f"stale change of {task.title}", answer)

    def seen(self, task: Known, answer: Answer) -> None:
        """Note what a reader got."""
        if answer.status == 200:
            self._compare(task.title, answer, task.state)
        elif not answer.is_unknown:
            self._complain(f"reading of {task.title}", answer)

    def hidden(self, what: str, answer: Answer, status: int) -> None:
        """Note what somebody got who may not see that."""
        if not answer.is_unknown and answer.status != status:
            self._complain(f"a stranger's reading of {what}", answer)

    def _count(self, answer: Answer) -> None:
        self.outcomes["sent"] += 1
        if answer.status == 0:
            self.outcomes["no answer"] += 1
        elif answer.is_unknown:
            self.outcomes["503"] += 1
        else:
            self.outcomes["acknowledged" if answer.status < 300 else "refused"] += 1

    def _compare(self, title: str, answer: Answer, expected: State | None) -> None:
        found = State(answer.body["completed"], answer.body["description"], answer.body["version"])
        if found != expected:
            self.complaints.append(f"{title} was shown as {found}, not {expected}")

    def _number(self, title: str, answer: Answer) -> None:
        """A user's changes have ascending numbers: none is given twice."""
        user = title.partition("-")[0]
        if answer.change <= self.numbers.get(user, 0):
            self.complaints.append(f"{title} was change {answer.change} after {self.numbers.get(user)}")
        self.numbers[user] = answer.change

    def _complain(self, what: str, answer: Answer) -> None:
        self.complaints.append(f"{what}: {answer.status} {answer.body.get('code')}")

    @contextmanager
    def forgiving(self, database: Database) -> Iterator[None]:
        """While losses are expected, and users rest: at the end the lost writes are counted, and what is there is true.

        From then on nothing may be missing of that, or of what comes.
        """
        count = len(self.complaints)
        yield
        del self.complaints[count:]  # of those who then saw what was lost
        self._accept(_stored(database.url))

    def _accept(self, stored: dict[str, list[State]]) -> None:
        for task in self.tasks.values():
            [found] = stored.get(task.title, [GONE])
            if found not in (task.state, task.doubt):
                kept = found.version if found else 0
                self.given_up += task.writes - kept
                task.writes = kept
            task.state = task.doubt = found
        self.numbers.clear()

    def verdict(self, url: str) -> Verdict:
        """Compare with the database at `url`, where nothing may be under way any more."""
        stored = _stored(url)
        with psycopg.connect(url) as connection:
            keys = {key for (key,) in connection.execute("select key from used_keys")}
            gaps = [f"{user} has {last} changes, {count} in the log" for user, last, count in connection.execute(GAPS)]
        verdict = Verdict([], [title for title, states in stored.items() if len(states) > 1], gaps)
        for task in self.tasks.values():
            self._judge(verdict, task, stored.pop(task.title, [GONE])[0])
        for title, keyed in self.unknown.items():
            states = stored.pop(title, [])
            self.happened += bool(states)
            if states not in ([], [NEW]) or (keyed and bool(states) != (title in keys)):
                verdict.wrong.append(f"{title} is half there: {states}, key {title in keys}")
        verdict.wrong.extend(f"{title} was refused and is there" for title in stored if title in self.refused)
        verdict.wrong.extend(f"{title} comes from nowhere" for title in stored if title not in self.refused)
        verdict.wrong.extend(self.complaints)
        return verdict

    def _judge(self, verdict: Verdict, task: Known, found: State | None) -> None:
        self.happened += task.doubt != task.state and found == task.doubt
        if found in (task.state, task.doubt):
            return
        said = f"{task.title} is {found}, not {task.state} or {task.doubt}"
        expected = task.writes + (task.doubt != task.state)
        (verdict.doubled if found and found.version > expected else verdict.lost).append(said)


def _stored(url: str) -> dict[str, list[State]]:
    """What the database at `url` has, by title."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("select title, completed_at is not null, description, version from tasks").fetchall()
    stored: dict[str, list[State]] = {}
    for title, *state in rows:
        stored.setdefault(title, []).append(State(*state))
    return stored
