"""The page about the coordinator names what there is."""

from pathlib import Path

from fedward_server.api.app import create_app
from fedward_server.home import Home
from fedward_server.keys.models import Role
from fedward_server.runs.states import RunState

PAGE = (Path(__file__).parents[3] / "docs" / "server.md").read_text()


def test_every_route_is_in_the_table_with_its_method(tmp_path: Path) -> None:
    paths = create_app(Home(tmp_path)).openapi()["paths"]
    routes = [
        f"`{method.upper()} {path.removeprefix('/api/v1')}`" for path, methods in paths.items() for method in methods
    ]
    assert not [route for route in routes if route not in PAGE]


def test_every_state_and_role_is_told() -> None:
    assert not [word for word in (*RunState, *Role) if word not in PAGE]
