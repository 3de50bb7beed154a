"""Rules of recurrence: what is read, what is refused and why, and which days a rule names."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import islice, product, takewhile

import pytest
from core.courses import CALENDAR, MIDNIGHT, days
from dateutil import rrule
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_recurrence import named_days

from todo_adapters import dateutil_recurrence
from todo_core.recurrence import (
    FREQUENCIES,
    Frequency,
    Recurrence,
    Weekday,
    canonical,
    is_recurrence,
    read_recurrence,
    recurrence_problems,
    until_of,
)
from todo_core.testing.examples import alike, recurrences

READ = {
    "FREQ=DAILY": "FREQ=DAILY",
    "RRULE:FREQ=DAILY": "FREQ=DAILY",
    "rrule:freq=daily;interval=01": "FREQ=DAILY",
    "COUNT=3;INTERVAL=2;FREQ=WEEKLY": "FREQ=WEEKLY;INTERVAL=2;COUNT=3",
    "FREQ=WEEKLY;BYDAY=FR,MO,MO;WKST=MO": "FREQ=WEEKLY;BYDAY=MO,FR",
    "FREQ=WEEKLY;WKST=SU": "FREQ=WEEKLY;WKST=SU",
    "FREQ=MONTHLY;BYDAY=+1MO,-1FR,SU": "FREQ=MONTHLY;BYDAY=-1FR,SU,1MO",
    "FREQ=MONTHLY;BYMONTHDAY=31,-1,1;BYSETPOS=-1": "FREQ=MONTHLY;BYMONTHDAY=-1,1,31;BYSETPOS=-1",
    "FREQ=YEARLY;BYDAY=53MO;UNTIL=20301231T235959z": "FREQ=YEARLY;BYDAY=53MO;UNTIL=20301231T235959Z",
    "FREQ=YEARLY;UNTIL=20301231": "FREQ=YEARLY;UNTIL=20301231",
}
# Each with the words by which its refusal is known.
REFUSED = {
    "": "one of them FREQ",
    "DAILY": "one of them FREQ",
    "BYDAY=MO": "one of them FREQ",
    "FREQ=DAILY;": "must not have",
    "FREQ=HOURLY": "FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY",
    "FREQ=": "FREQ must be",
    "FREQ=DAILY;FREQ=DAILY": "FREQ once",
    "FREQ=DAILY;BYHOUR=9": "must not have BYHOUR",
    "FREQ=YEARLY;BYWEEKNO=20": "must not have BYWEEKNO",
    "FREQ=YEARLY;BYYEARDAY=1": "must not have BYYEARDAY",
    "FREQ=DAILY;X-Y=1": "must not have other parts",
    "DTSTART:20260101\nRRULE:FREQ=DAILY": "must not have other parts",
    "FREQ=DAILY;INTERVAL=0": "INTERVAL must be a whole number from 1 to 999",
    "FREQ=DAILY;INTERVAL=1000": "INTERVAL must be",
    "FREQ=DAILY;INTERVAL=-1": "INTERVAL must be",
    "FREQ=DAILY;INTERVAL=1.5": "INTERVAL must be",
    "FREQ=DAILY;COUNT=0": "COUNT must be",
    "FREQ=DAILY;COUNT=1000000": "COUNT must be",
    "FREQ=DAILY;COUNT=2;UNTIL=20260101": "COUNT or UNTIL, not both",
    "FREQ=DAILY;UNTIL=20260230": "UNTIL must be a date such as",
    "FREQ=DAILY;UNTIL=30000101": "UNTIL must be a date such as",
    "FREQ=DAILY;UNTIL=2026-01-01": "UNTIL must be a date such as",
    "FREQ=DAILY;UNTIL=20260101T240000": "UNTIL must be a date such as",
    "FREQ=DAILY;UNTIL=20260101Z": "UNTIL must be a date such as",
    "FREQ=MONTHLY;BYMONTHDAY=0": "BYMONTHDAY must be days from 1 to 31",
    "FREQ=MONTHLY;BYMONTHDAY=32": "BYMONTHDAY must be",
    "FREQ=MONTHLY;BYMONTHDAY=1,,2": "BYMONTHDAY must be",
    "FREQ=WEEKLY;BYMONTHDAY=1": "must not have BYMONTHDAY beside FREQ=WEEKLY",
    "FREQ=YEARLY;BYMONTH=13": "BYMONTH must be months",
    "FREQ=YEARLY;BYMONTH=-1": "BYMONTH must be months",
    "FREQ=WEEKLY;BYDAY=XX": "BYDAY must be days",
    "FREQ=WEEKLY;BYDAY=": "BYDAY must be days",
    "FREQ=MONTHLY;BYDAY=0MO": "BYDAY must be days",
    "FREQ=YEARLY;BYDAY=54MO": "BYDAY must be days",
    "FREQ=WEEKLY;BYDAY=1MO": "days without numbers in BYDAY",
    "FREQ=DAILY;BYDAY=-1MO": "days without numbers in BYDAY",
    "FREQ=MONTHLY;BYDAY=6MO": "numbers up to 5 in BYDAY",
    "FREQ=YEARLY;BYMONTH=1;BYDAY=-6MO": "numbers up to 5 in BYDAY",
    "FREQ=MONTHLY;BYSETPOS=1": "BYSETPOS beside",
    "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0": "BYSETPOS must be",
    "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=367": "BYSETPOS must be",
    "FREQ=WEEKLY;WKST=1": "WKST must be one of",
    "FREQ=DAILY;INTERVAL=２": "one of them FREQ",
    "FREQ=DAILY;UNTIL=" + "1" * 10**5: "at most 255 characters",
}
# RFC 5545 §3.8.5.3: its rules that name days, from its own start, with days of the sets that it lists.
SETS = {
    ("FREQ=DAILY;COUNT=10", "1997-09-02"): "1997-09-03 1997-09-04 1997-09-05 1997-09-06 1997-09-07",
    ("FREQ=DAILY;INTERVAL=2", "1997-09-02"): "1997-09-04 1997-09-06 1997-09-08 1997-09-10",
    ("FREQ=DAILY;INTERVAL=10;COUNT=5", "1997-09-02"): "1997-09-12 1997-09-22 1997-10-02 1997-10-12",
    ("FREQ=DAILY;BYMONTH=1", "1998-01-30"): "1998-01-31 1999-01-01 1999-01-02",
    ("FREQ=YEARLY;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA", "1998-01-30"): "1998-01-31 1999-01-01 1999-01-02",
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU", "1997-09-02"): "1997-09-16 1997-09-30 1997-10-14 1997-10-28 1997-11-11",
    ("FREQ=WEEKLY;BYDAY=TU,TH;WKST=SU", "1997-09-02"): "1997-09-04 1997-09-09 1997-09-11 1997-09-16 1997-09-18",
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=MO,WE,FR", "1997-09-01"): (
        "1997-09-03 1997-09-05 1997-09-15 1997-09-17 1997-09-19 1997-09-29 1997-10-01 1997-10-03 1997-10-13"
    ),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU,TH", "1997-09-02"): "1997-09-04 1997-09-16 1997-09-18 1997-09-30",
    ("FREQ=MONTHLY;BYDAY=1FR", "1997-09-05"): "1997-10-03 1997-11-07 1997-12-05 1998-01-02 1998-02-06 1998-03-06",
    ("FREQ=MONTHLY;INTERVAL=2;BYDAY=1SU,-1SU", "1997-09-07"): (
        "1997-09-28 1997-11-02 1997-11-30 1998-01-04 1998-01-25 1998-03-01 1998-03-29 1998-05-03 1998-05-31"
    ),
    ("FREQ=MONTHLY;BYDAY=-2MO", "1997-09-22"): "1997-10-20 1997-11-17 1997-12-22 1998-01-19 1998-02-16",
    ("FREQ=MONTHLY;BYMONTHDAY=-3", "1997-09-28"): "1997-10-29 1997-11-28 1997-12-29 1998-01-29 1998-02-26",
    ("FREQ=MONTHLY;BYMONTHDAY=2,15", "1997-09-02"): "1997-09-15 1997-10-02 1997-10-15 1997-11-02 1997-11-15",
    ("FREQ=MONTHLY;BYMONTHDAY=1,-1", "1997-09-30"): "1997-10-01 1997-10-31 1997-11-01 1997-11-30 1997-12-01",
    ("FREQ=MONTHLY;INTERVAL=18;BYMONTHDAY=10,11,12,13,14,15", "1997-09-10"): (
        "1997-09-11 1997-09-12 1997-09-13 1997-09-14 1997-09-15 1999-03-10 1999-03-11 1999-03-12 1999-03-13"
    ),
    ("FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", "1997-09-02"): (
        "1997-09-09 1997-09-16 1997-09-23 1997-09-30 1997-11-04 1997-11-11 1997-11-18 1997-11-25 1998-01-06"
    ),
    ("FREQ=YEARLY;BYMONTH=6,7", "1997-06-10"): "1997-07-10 1998-06-10 1998-07-10 1999-06-10 1999-07-10",
    ("FREQ=YEARLY;INTERVAL=2;BYMONTH=1,2,3", "1997-03-10"): (
        "1999-01-10 1999-02-10 1999-03-10 2001-01-10 2001-02-10 2001-03-10 2003-01-10 2003-02-10 2003-03-10"
    ),
    ("FREQ=YEARLY;BYDAY=20MO", "1997-05-19"): "1998-05-18 1999-05-17",
    ("FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "1997-03-13"): "1997-03-20 1997-03-27 1998-03-05 1998-03-12 1998-03-19",
    ("FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8", "1997-06-05"): "1997-06-12 1997-06-19 1997-06-26 1997-07-03",
    ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "1997-09-02"): "1998-02-13 1998-03-13 1998-11-13 1999-08-13 2000-10-13",
    ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "1997-09-13"): (
        "1997-10-11 1997-11-08 1997-12-13 1998-01-10 1998-02-07 1998-03-07 1998-04-11 1998-05-09 1998-06-13"
    ),
    ("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "1996-11-05"): "2000-11-07 2004-11-02",
    ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "1997-09-04"): "1997-10-07 1997-11-06",
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "1997-09-29"): (
        "1997-10-30 1997-11-27 1997-12-30 1998-01-29 1998-02-26 1998-03-30"
    ),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "1997-08-05"): "1997-08-10 1997-08-19 1997-08-24",
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "1997-08-05"): "1997-08-17 1997-08-19 1997-08-31",
    ("FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "2007-01-15"): "2007-01-30 2007-02-15 2007-03-15 2007-03-30",
}


def after(rule: str, anchor: str, moment: str, many: int) -> list[str]:
    found = CALENDAR.after(read_recurrence(rule), datetime.fromisoformat(anchor), datetime.fromisoformat(moment))
    return [each.isoformat() for each in islice(found, many)]


@pytest.mark.parametrize(("given", "stored"), READ.items())
def test_a_rule_has_one_canonical_text(given: str, stored: str) -> None:
    assert recurrence_problems(given) == ()
    assert canonical(given) == canonical(alike(given)) == stored
    assert is_recurrence(stored)
    assert is_recurrence(given) is (given == stored)


@pytest.mark.parametrize(("given", "words"), REFUSED.items(), ids=[text[:40] for text in REFUSED])
def test_an_invalid_rule_is_refused_with_a_sentence_that_says_what_is_right(given: str, words: str) -> None:
    problems = recurrence_problems(given)
    assert any(words in problem for problem in problems)
    assert all(len(problem) < 200 and problem.isprintable() for problem in problems)
    assert canonical(given) == given
    assert not is_recurrence(given)


@pytest.mark.parametrize("value", [5, b"FREQ=DAILY", ["FREQ=DAILY"], {}, True])
def test_only_text_is_a_rule(value: object) -> None:
    assert recurrence_problems(value)
    assert canonical(value) == value
    assert not is_recurrence(value)


def test_all_faults_of_a_rule_are_named() -> None:
    assert len(recurrence_problems("FREQ=DAILY;BYHOUR=1;INTERVAL=0;WKST=1")) == 3
    assert len(recurrence_problems("FREQ=WEEKLY;BYMONTHDAY=1;BYDAY=1MO;COUNT=1;UNTIL=20260101")) == 3


@given(st.text(max_size=300) | st.text("FREQDAILYBMONTHCU=;,0123456789:RWK", max_size=60))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    if not recurrence_problems(text):
        assert is_recurrence(canonical(text))


@given(recurrences())
def test_a_rule_is_read_again_from_its_text(rule: Recurrence) -> None:
    assert read_recurrence(str(rule)) == rule


def test_until_is_the_end_of_its_day_or_a_moment() -> None:
    assert until_of("20261231") == (datetime(2026, 12, 31, 23, 59, 59), False)
    assert until_of("20261231T170000") == (datetime(2026, 12, 31, 17), False)
    assert until_of("20261231T170000Z") == (datetime(2026, 12, 31, 17), True)


@pytest.mark.parametrize(("rule", "anchor", "listed"), [(*key, value) for key, value in SETS.items()])
def test_recurrence_sets_match_the_examples_of_the_standard(rule: str, anchor: str, listed: str) -> None:
    expected = [f"{day}T09:00:00" for day in listed.split()]
    assert after(rule, f"{anchor}T09:00:00", f"{anchor}T09:00:00", len(expected)) == expected


@pytest.mark.parametrize("frequency", FREQUENCIES)
@settings(max_examples=examples(200))
@given(data=st.data(), anchor=days, later=st.just(0) | st.integers(0, 400_000), span=st.integers(400, 1500))
def test_the_days_equal_those_found_by_checking_every_day(
    frequency: Frequency, data: st.DataObject, anchor: date, later: int, span: int
) -> None:
    rule = data.draw(recurrences([frequency]))
    plain = data.draw(st.sampled_from(["as it is", "no days", "each week's end"]))
    if plain == "no days":
        rule = replace(rule, weekdays=(), month_days=(), positions=rule.positions if rule.months else ())
    if plain == "each week's end" and frequency == "WEEKLY":
        rule = replace(rule, weekdays=tuple(Weekday(0, each) for each in range(7)), positions=(1, -1))
    last_of_all = date(2999, 12, 31)
    first = min(anchor + timedelta(days=later), last_of_all) if later < (last_of_all - anchor).days else anchor
    last = first + timedelta(days=min(span, (last_of_all - first).days))
    expected = named_days(rule, anchor, first, last)
    before = datetime.combine(first, MIDNIGHT) - timedelta(seconds=1)
    found = CALENDAR.after(rule, datetime.combine(anchor, MIDNIGHT), before)
    assert [each.date() for each in takewhile(lambda each: each.date() <= last, found)] == expected
    skipping = CALENDAR.after(rule, datetime.combine(anchor, MIDNIGHT), before, skip=len(expected) // 2)
    rest = [each.date() for each in takewhile(lambda each: each.date() <= last, skipping)]
    assert rest == expected[len(expected) // 2 :]
    begin, day = datetime.combine(anchor, time(12)), timedelta(days=1)
    behind = CALENDAR.passed(rule, begin, datetime.combine(first - day, time(12)))
    for end, clock in ((last, time(12)), (last - day, time(13)), (last - day, time(23))):
        there = [each for each in expected if anchor < each <= end]
        assert CALENDAR.passed(rule, begin, datetime.combine(end, clock)) - behind == len(there)
    assert CALENDAR.passed(rule, begin, datetime.combine(last, time(11))) - behind == len(there)


@pytest.mark.parametrize("frequency", FREQUENCIES)
@settings(max_examples=examples(100))
@given(data=st.data(), anchor=days, span=st.integers(400, 2000))
def test_the_days_are_those_that_dateutil_names_for_the_whole_rule(
    frequency: Frequency, data: st.DataObject, anchor: date, span: int
) -> None:
    rule = replace(data.draw(recurrences([frequency])), count=None, until=None)
    if frequency in ("MONTHLY", "YEARLY") and not rule.names_days:
        anchor = anchor.replace(day=min(anchor.day, 28))  # behind it dateutil leaves shorter months out, we do not
    if any(day.ordinal for day in rule.weekdays):  # dateutil joins days with and without numbers by "and"
        rule = replace(rule, weekdays=tuple(day for day in rule.weekdays if day.ordinal))
    begin = datetime.combine(anchor, MIDNIGHT)
    end = min(begin + timedelta(days=span), datetime(2999, 12, 31))
    found = list(takewhile(lambda each: each <= end, CALENDAR.after(rule, begin, begin - timedelta(seconds=1))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datetime.MAXYEAR", end.year + 1)  # otherwise it goes on to the year 9999 where it finds no day
        named = rrule.rrulestr(str(rule), dtstart=begin).between(begin, end, inc=True)
    if frequency == "WEEKLY" and rule.positions:  # dateutil counts the days of the first week from its anchor only
        week = begin + timedelta(days=7 - (anchor.weekday() - rule.week_start) % 7)
        found, named = ([each for each in moments if each >= week] for moments in (found, named))
    assert found == named


@pytest.mark.parametrize("week_start", range(7))
def test_a_week_that_reaches_over_the_end_of_a_year_is_one_period(week_start: int) -> None:
    every = tuple(Weekday(0, day) for day in range(7))
    for months in ((), (1,), (12,)):
        rule = Recurrence(frequency="WEEKLY", months=months, weekdays=every, positions=(2, -1), week_start=week_start)
        for year in range(2000, 2028):  # all kinds of years
            first, last = date(year, 12, 20), date(year + 1, 1, 12)
            found = CALENDAR.after(rule, datetime(2000, 1, 1), datetime.combine(first, MIDNIGHT) - timedelta(seconds=1))
            days = [each.date() for each in islice(found, 24) if each.date() <= last]
            assert days == named_days(rule, date(2000, 1, 1), first, last)


def test_the_time_of_day_decides_whether_today_can_be_the_next_occurrence() -> None:
    assert after("FREQ=DAILY", "2026-10-01T09:00:00", "2026-10-05T08:59:59", 1) == ["2026-10-05T09:00:00"]
    assert after("FREQ=DAILY", "2026-10-01T09:00:00", "2026-10-05T09:00:00", 1) == ["2026-10-06T09:00:00"]
    assert after("FREQ=DAILY", "2026-10-01T09:00:00", "2026-09-01T09:00:00", 1) == ["2026-10-01T09:00:00"]
    assert after("FREQ=DAILY", "2999-12-31", "2999-12-31", 1) == []


def test_weekdays_are_those_that_dateutil_names() -> None:
    """Of all kinds of years, their numbers counted in the year and in each month."""
    begin, end = datetime(2000, 1, 1), datetime(2027, 12, 31)
    for ordinal, day in product((0, 1, 2, 4, 5, -1, -4, -5, 17, 52, 53, -52, -53), range(7)):
        for in_months in (False, True)[: 2 if abs(ordinal) <= 5 else 1]:
            asked = rrule.rrule(
                rrule.YEARLY,
                begin,
                until=end,
                bymonth=range(1, 13) if in_months else None,
                byweekday=[rrule.weekday(day, ordinal) if ordinal else rrule.weekday(day)],
            )
            named = {moment.date() for moment in asked}
            for year in dateutil_recurrence._KINDS.values():
                bits = dateutil_recurrence._on_weekdays((Weekday(ordinal, day),), in_months, year)
                mine = {date(year, 1, 1) + timedelta(days=place) for place in range(366) if bits >> place & 1}
                there = {each for each in mine if each.year == year}  # a year's bits go beyond its end
                assert there == {each for each in named if each.year == year}
