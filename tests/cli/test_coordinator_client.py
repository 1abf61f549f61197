"""What the commands say where no coordinator answers, or where the key is none."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from fedward_cli.commands import runs
from fedward_cli.network.connection import path_of
from fedward_cli.network.coordinator import Coordinator, UnreachableError


@pytest.fixture
def website() -> Iterator[str]:
    """The address of a server that answers every request with a page, as portals of hospitals do."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b"<html>Welcome</html>"
            self.send_response(502 if self.path.endswith("/gateway") else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_website_is_no_coordinator(bench: Any, website: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDWARD_URL", website)
    monkeypatch.setenv("FEDWARD_KEY", "fw_secret")
    result = bench.call("run", "list")
    assert result.exit_code == 1
    assert "is not that of a coordinator" in result.stderr


def test_this_machine_is_reached_past_the_proxy_that_the_environment_names(
    bench: Any, website: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FEDWARD_URL", website)
    monkeypatch.setenv("FEDWARD_KEY", "fw_secret")
    assert "is not that of a coordinator" in bench.call("run", "list").stderr  # and so was asked


@pytest.mark.parametrize("name", ["a/../b", "a?b", "a#b", "a b"])
def test_a_name_is_one_part_of_a_path_whatever_signs_are_in_it(name: str) -> None:
    path = path_of("keys", name)
    assert path.count("/") == 2
    assert urlsplit(path).path == path
    assert unquote(path) == f"/keys/{name}"


def test_an_empty_name_is_a_usage_error(bench: Any, website: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDWARD_URL", website)
    monkeypatch.setenv("FEDWARD_KEY", "fw_secret")
    for command in (("run", "show"), ("run", "watch"), ("key", "revoke"), ("site", "revoke")):
        assert bench.call(*command, "").exit_code == 2


def test_ctrl_c_ends_the_watching_and_says_that_the_run_goes_on(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("FEDWARD_KEY", "fw_secret")
    monkeypatch.setattr(runs, "follow_to_the_end", interrupted)
    result = bench.call("run", "watch", "study-1")
    assert result.exit_code == 130
    assert result.stderr == "No longer watched; run 'study-1' goes on.\n"


def test_a_proxy_whose_coordinator_is_away_is_waited_for_like_one(website: str) -> None:
    with pytest.raises(UnreachableError, match="502"):
        Coordinator(website, "fw_secret").get("/gateway")


@pytest.mark.parametrize("key", ["fw_sécret", "fw_sec\x07ret", "fw_sec\r\nret"])
def test_a_key_with_signs_that_no_key_has_is_refused_and_not_shown(
    bench: Any, website: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDWARD_URL", website)
    monkeypatch.setenv("FEDWARD_KEY", key)
    result = bench.call("run", "list")
    assert result.exit_code == 1
    assert "FEDWARD_KEY holds signs that no key has" in result.stderr
    assert "fw_s" not in result.output


def test_the_end_of_a_line_is_no_part_of_a_key(bench: Any, website: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDWARD_URL", website)
    monkeypatch.setenv("FEDWARD_KEY", "fw_secret\r\n")  # as a file from Windows ends
    result = bench.call("run", "list")
    assert "is not that of a coordinator" in result.stderr
    assert "secret" not in result.output
