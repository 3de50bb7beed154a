"""Dates: what is accepted, how it is stored, and which moment it means."""

from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todo_core.due import Dates, contradictions, instant, is_date, is_readable, is_time_zone, read_date, settled

days = st.dates(datetime(1900, 1, 1).date(), datetime(2999, 12, 31).date())
times = st.datetimes(datetime(1900, 1, 1), datetime(2999, 12, 31, 23, 59, 59))
zones = st.sampled_from(sorted(filter(is_time_zone, available_timezones())))

READ = {
    "2026-10-01": "2026-10-01",
    "1900-01-01": "1900-01-01",
    "2999-12-31T23:59:59": "2999-12-31T23:59:59",
    "2024-02-29": "2024-02-29",
    "2026-10-01T17:00": "2026-10-01T17:00:00",
    "2026-10-01T17:00:30": "2026-10-01T17:00:30",
    "2026-10-01T17:00:30.999999999": "2026-10-01T17:00:30",
    "2026-10-01t17:00": "2026-10-01T17:00:00",
}
INSTANTS = {
    "2026-10-01T15:00:00Z": "2026-10-01T17:00:00",
    "2026-10-01T15:00z": "2026-10-01T17:00:00",
    "2026-10-01T23:30:00.5-01:00": "2026-10-02T02:30:00",
    "2026-12-31T23:59:59+00:00": "2027-01-01T00:59:59",
}
UNREADABLE = [
    "", " ", "2026", "2026-10", "20261001", "2026-10-1", "2026-02-30", "2025-02-29", "2026-13-01", "2026-00-01",
    "2026-10-01T", "2026-10-01T24:00:00", "2026-10-01T23:60", "2026-10-01T23:59:60", "2026-10-01 17:00", "1899-12-31",
    "3000-01-01", "2026-10-01Z", "2026-10-01T17:00+24:00", "2026-10-01T17:00+0100", "2026-10-01T17:00:00+01:60",
    "tomorrow", "2026-10-01T17:00:00.", "٢٠٢٦-10-01", "2026-10-01\n", "2026-10-01\x00", "1" * 10**5,
]  # fmt: skip


@pytest.mark.parametrize(("given", "stored"), READ.items())
def test_a_date_is_stored_in_one_of_two_forms(given: str, stored: str) -> None:
    assert is_readable(given)
    assert settled(None, given, None) == Dates(None, stored, None)
    assert is_date(stored)


@pytest.mark.parametrize(("given", "stored"), INSTANTS.items())
def test_an_instant_becomes_the_time_on_the_clock_of_the_tasks_zone(given: str, stored: str) -> None:
    assert settled(None, given, "Europe/Madrid") == Dates(None, stored, "Europe/Madrid")


def test_an_instant_of_an_hour_that_comes_again_is_stored_as_its_first_time() -> None:
    """At 01:00Z clocks in Madrid went back from 03:00 to 02:00."""
    dates = settled("2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z", "Europe/Madrid")
    assert dates == Dates("2026-10-25T02:45:00", "2026-10-25T02:15:00", "Europe/Madrid")
    assert instant(dates.due_date, "Europe/Madrid") == datetime(2026, 10, 25, 0, 15, tzinfo=UTC)
    assert contradictions(dates.start_date, dates.due_date) == {"start_date": "must not be after due_date"}


def test_an_instant_without_a_zone_is_in_utc() -> None:
    assert settled("2026-10-01T15:00:00+02:00", None, None) == Dates("2026-10-01T13:00:00", None, "UTC")


@pytest.mark.parametrize("text", UNREADABLE)
def test_an_invalid_date_is_never_corrected(text: str) -> None:
    assert not is_readable(text)
    assert not is_date(text)
    with pytest.raises(ValueError):  # noqa: PT011 (it is the caller that words the refusal)
        read_date(text)


class Lenient(datetime):
    """Its parser reads hour 24 as the next day, as Python does from 3.14 on."""

    @classmethod
    def fromisoformat(cls, text: str) -> Self:
        begin, hour, rest = text.partition("T24")
        moment = super().fromisoformat(f"{begin}T00{rest}" if hour else text)
        return moment + timedelta(days=1) if hour else moment


@pytest.mark.parametrize("ending", ["", "Z", "+01:00"])
def test_hour_24_is_refused_by_every_python(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr("todo_core.due.datetime", Lenient)
    assert not is_date(f"2026-10-01T24:00:00{ending}")
    assert not is_readable(f"2026-10-01T24:00:00{ending}")
    assert is_readable(f"2026-10-24T23:24:00{ending}")


@pytest.mark.parametrize("value", [None, 20261001, b"2026-10-01", datetime(2026, 10, 1, tzinfo=UTC)])
def test_only_text_is_a_date(value: object) -> None:
    assert not is_readable(value)
    assert not is_date(value)


@pytest.mark.parametrize("lenient", ["2026-10-01T17:00", "2026-10-01T17:00:00Z", "2026-10-01t17:00:00"])
def test_a_leniently_read_date_is_not_a_stored_form(lenient: str) -> None:
    assert not is_date(lenient)


def test_a_whole_day_has_no_zone_and_a_time_may_float() -> None:
    assert settled("2026-09-01", "2026-10-01", "Europe/Madrid").time_zone is None
    assert settled(None, None, "Europe/Madrid").time_zone is None
    assert settled(None, "2026-10-01", "Europe/Madrid", keeps_zone=True).time_zone == "Europe/Madrid"
    assert settled(None, "2026-10-01T17:00", "Europe/Madrid").time_zone == "Europe/Madrid"
    assert settled(None, "2026-10-01T17:00", None).time_zone is None


def test_an_instant_may_be_out_of_the_year_range_in_utc_but_not_in_its_zone() -> None:
    assert settled(None, "1900-01-01T00:30:00+01:00", "Etc/GMT-1").due_date == "1900-01-01T00:30:00"
    with pytest.raises(ValueError):  # noqa: PT011
        settled(None, "1900-01-01T00:30:00+01:00", None)


def test_start_and_due_date_must_have_the_same_form_and_be_in_order() -> None:
    assert contradictions("2026-10-01", "2026-10-01") == {}
    assert contradictions("2026-10-01T09:00:00", "2026-10-01T09:00:01") == {}
    assert contradictions(None, "2026-10-01") == contradictions("2026-10-01", None) == {}
    assert "after" in contradictions("2026-10-02", "2026-10-01")["start_date"]
    assert "form" in contradictions("2026-10-01", "2026-10-01T09:00:00")["start_date"]


@pytest.mark.parametrize(
    ("written", "zone", "moment"),
    [
        ("2026-03-28T09:00:00", "Europe/Madrid", "2026-03-28T08:00:00+00:00"),
        ("2026-03-29T09:00:00", "Europe/Madrid", "2026-03-29T07:00:00+00:00"),
        ("2026-03-29T02:30:00", "Europe/Madrid", "2026-03-29T01:30:00+00:00"),  # skipped: 03:30 on the clock
        ("2026-10-25T02:30:00", "Europe/Madrid", "2026-10-25T00:30:00+00:00"),  # twice: the first
        ("2011-12-30T12:00:00", "Pacific/Apia", "2011-12-30T22:00:00+00:00"),  # a whole day skipped
        ("2026-01-01T00:00:00", "Asia/Kathmandu", "2025-12-31T18:15:00+00:00"),
    ],
)
def test_a_local_time_is_converted_to_its_instant(written: str, zone: str, moment: str) -> None:
    assert instant(written, zone) == datetime.fromisoformat(moment)


def test_a_local_time_in_an_unknown_zone_has_no_instant() -> None:
    # A newer one had it, on another replica, when the task was written: its readers must not fail.
    assert instant("2026-10-01T17:00:00", "Europe/Atlantis") is None


def test_a_whole_day_or_a_floating_time_has_no_instant() -> None:
    assert instant("2026-10-01", "Europe/Madrid") is None
    assert instant("2026-10-01T17:00:00", None) is None
    assert instant(None, "Europe/Madrid") is None


@given(day=days, time=times, zone=zones)
def test_a_stored_date_is_read_unchanged(day: object, time: datetime, zone: str) -> None:
    for written in (f"{day}", time.replace(microsecond=0).isoformat()):
        assert is_date(written)
        assert settled(None, written, zone).due_date == written


@given(time=times.filter(lambda time: 1901 <= time.year <= 2998), zone=zones)
def test_an_instant_that_is_stored_is_that_moment_again(time: datetime, zone: str) -> None:
    moment = time.replace(microsecond=0, tzinfo=UTC)
    dates = settled(None, moment.isoformat(), zone)
    again = instant(dates.due_date, dates.time_zone)
    # In an overlap the first of the two counts, which is earlier by what the clock is set back.
    local = moment.astimezone(ZoneInfo(zone))
    assert again == moment or (local.fold == 1 and timedelta(0) < moment - again < timedelta(days=1, hours=1))  # type: ignore[operator]


@given(left=days | times, right=days | times)
def test_dates_sort_as_they_are_written_a_whole_day_before_its_hours(left: object, right: object) -> None:
    texts = [one.isoformat(timespec="seconds") if isinstance(one, datetime) else f"{one}" for one in (left, right)]
    keys = [(text[:10], text[10:]) for text in texts]
    assert (texts[0] < texts[1]) is (keys[0] < keys[1])


def test_a_zone_name_must_be_spelled_as_in_the_database() -> None:
    assert all(is_time_zone(name) for name in ("UTC", "Europe/Madrid", "America/Argentina/Buenos_Aires"))
    for name in (
        "europe/madrid",
        "Madrid",
        "+01:00",
        "",
        "../etc/passwd",
        "localtime",  # what some machines call their own
        "/etc/localtime",
        "UTC\x00",
        "x" * 10**5,
        5,
        None,
    ):
        assert not is_time_zone(name)
