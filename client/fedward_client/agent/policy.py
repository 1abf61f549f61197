"""The site's policy: what the hospital has decided, in a file that people write. No run can change it.

Whatever cannot be read allows nothing.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from fedward_client.agent.errors import PolicyError
from fedward_core.cards import DataKind, Task
from fedward_core.config import Frozen
from fedward_core.errors import without_folder
from fedward_core.spec import Dataset
from fedward_core.yaml_file import read_yaml

# It becomes a folder's name, and leads nowhere else.
DatasetName = Annotated[str, Field(pattern=r"^[^./\x00-\x1f][^/\x00-\x1f]*$")]
CARD_PX = 8  # cards count images and do not show them: the smallest size is read fastest


class Offer(Frozen):
    """One dataset that the site offers.

    Attributes:
        path: A folder with ``labels.csv`` and image files, or an ``.npz`` file.
        kind: What one example is.
        task: What its labels mean.
        classes: Its classes in the order of their label numbers; empty to take those that it names itself.
    """

    path: Path
    kind: DataKind = DataKind.IMAGE
    task: Task = Task.CLASSIFICATION
    classes: tuple[str, ...] = ()

    def described_as(self, name: str) -> Dataset:
        """What a card of this dataset is made from."""
        return Dataset(
            name=name,
            kind=self.kind,
            task=self.task,
            classes=self.classes,
            image_px=CARD_PX,
            depth=1 if self.kind is DataKind.VOLUME else None,
            frames=1 if self.kind is DataKind.CLIP else None,
        )

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        if self.task is Task.SEGMENTATION and self.kind is DataKind.CLIP:
            raise ValueError("task 'segmentation' is for images and volumes, found kind 'clip': use another task")
        return self

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes names one twice, found {', '.join(self.classes)}: name each once")
        return self


class SitePolicy(Frozen):
    """What runs may ask of the site.

    Attributes:
        datasets: The datasets that the site offers, by the names that specs use.
        public: Of these, the public ones: a run may ask what the site's own model predicts for each of their images.
        studies: Studies that it takes part in, or ``all``.
        methods: Methods that may train here, or ``all``.
        labels: Whether runs may read labels.
        max_rounds: Rounds of all stages together that a run may ask for.
        max_epochs: Passes over the data in one round that a run may ask for.
        min_sites: A run must count at least so many sites in each round: of fewer, an average tells too much.
        gpus: Numbers of the GPUs that runs may use, as ``nvidia-smi`` counts them, or ``all``; an empty list for none.
        min_free_disk_gb: Below so much free disk, the site takes part in no new run.
        fetch_weights: Whether frozen weights that a run names and the site lacks are fetched from the coordinator.
        run_as: The user that client apps run as; used where the agent runs as root, and otherwise refused.
        job_datasets: Datasets that the site's own jobs may use, or ``all``.
        simulated: Whether the data is made up. What a simulated site approves has no force where TLS is on.
    """

    datasets: dict[DatasetName, Offer] = Field(default_factory=dict)
    public: tuple[str, ...] = ()
    studies: Literal["all"] | tuple[str, ...] = "all"
    methods: Literal["all"] | tuple[str, ...] = "all"
    labels: bool = True
    max_rounds: int = Field(default=1000, ge=1)
    max_epochs: int = Field(default=50, ge=1)
    min_sites: int = Field(default=2, ge=1)
    gpus: Literal["all"] | tuple[int, ...] = "all"
    min_free_disk_gb: float = Field(default=1.0, ge=0)
    fetch_weights: bool = False
    run_as: str = ""
    job_datasets: Literal["all"] | tuple[str, ...] = "all"
    simulated: bool = False


def read_policy(path: Path) -> SitePolicy:
    """Read a site's policy.

    Raises:
        PolicyError: There is none, or it is wrong; each fault is listed with its place.
    """
    try:
        values = read_yaml(path)
        policy = SitePolicy.model_validate({} if values is None else values)
    except FileNotFoundError:
        raise PolicyError("there is no site.yaml in the agent's home folder: nothing is allowed") from None
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, fault['loc'])) or 'site.yaml'}: {fault['msg']}" for fault in error.errors()]
        raise PolicyError("site.yaml is wrong, so nothing is allowed:\n" + "\n".join(faults)) from None
    except (OSError, ValueError) as error:
        raise PolicyError(f"site.yaml cannot be read, so nothing is allowed: {without_folder(error, path)}") from None
    return policy
