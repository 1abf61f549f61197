"""What a terminal shows while something takes long, and that nothing is shown elsewhere."""

import io

import pytest
from rich.console import Console

from fedward_cli.display import consoles


def shown(monkeypatch: pytest.MonkeyPatch, *sites: str, terminal: bool) -> str:
    out = io.StringIO()
    monkeypatch.setattr(consoles, "errors", lambda: Console(file=out, force_terminal=terminal, width=80))
    assert list(consoles.in_turn(sites, "reading the images of")) == list(sites)
    return out.getvalue()


def test_a_terminal_shows_which_of_several_sites_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, "north", "[hill]", terminal=True)
    assert "reading the images of" in text


def test_a_file_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not shown(monkeypatch, "north", terminal=False).strip()
