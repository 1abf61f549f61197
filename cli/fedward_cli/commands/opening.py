"""A finished model, opened for commands that use it, with a word on what must be known of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedward_cli.display.consoles import tell

if TYPE_CHECKING:
    from fedward_models.inference.finished_model import FinishedModel

Kept = Annotated[
    Path | None,
    typer.Option(
        "--kept",
        help="What this site has kept of a personalised stage, for its own model: AGENT_HOME/private/RUN/STAGE, or "
        "RUN/sites/SITE/STAGE of a simulated one.",
        exists=True,
        file_okay=False,
    ),
]


def open_model(
    run: Path, stage: str | None, *, best: bool, kept: Path | None, data: Path | None = None
) -> "FinishedModel":
    """Open the model of a stage, or with what a site has kept the site's own.

    Args:
        run: The folder of a run, or of an unpacked download of one.
        stage: Its name; the last one where there is none.
        best: Whether to take the weights after the best evaluated round.
        kept: The folder with what the site has kept.
        data: The data of all sites that the model is used for, where it is used for some.

    Raises:
        FedwardError: There is no such model.
    """
    from fedward_client.private_store import FilePrivateStore
    from fedward_models.data import sites_in  # torch
    from fedward_models.inference.finished_model import open_finished

    if kept is not None and best:
        raise typer.BadParameter("--kept is of the last round, and --best of another one: leave one of them out")
    if kept is not None and data is not None and len(sites_in(data)) > 1:
        raise typer.BadParameter("--kept is what one site has kept, and --data holds several: give that site's own")
    entry = FilePrivateStore(kept).newest() if kept is not None else None
    model = open_finished(run, stage, "best" if best else "final", kept=entry)
    if model.caveat:
        tell(f"{model.caveat}.")
    return model
