"""Times are those of no place, since whoever reads them may be anywhere."""

import time

import pytest

from fedward_cli.display.moments import in_utc


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_moment_is_told_alike_in_every_time_zone(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert in_utc(86_400) == "1970-01-02 00:00 UTC"
    finally:
        monkeypatch.undo()
        time.tzset()
