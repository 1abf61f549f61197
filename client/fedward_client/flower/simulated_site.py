"""Simulated sites: which hospital a virtual node stands for, told by its partition id."""

from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context
from flwr.clientapp import ClientApp

from fedward_client.flower.client_app import make_client_app
from fedward_client.site_work import SiteSettings
from fedward_core.spec import Spec


@dataclass(frozen=True, kw_only=True)
class SimulatedNetwork:
    """Every site of a simulation. Each has a folder of its own for private state, as at a hospital.

    Attributes:
        spec: The run's spec.
        sites: The sites; a node's partition id is an index into them.
        data: The folder with the datasets of all sites.
        private: The folder in which each site gets a folder.
    """

    spec: Spec
    sites: tuple[str, ...]
    data: Path
    private: Path

    def locate(self, context: Context) -> SiteSettings:
        """The site that a node stands for."""
        site = self.sites[int(context.node_config["partition-id"])]
        private = self.private / site
        return SiteSettings(site=site, spec=self.spec, data=self.data, private=private, durable=False)


def simulated_client_app(spec: str, sites: tuple[str, ...], data: str, private: str) -> ClientApp:
    """The ClientApp of a simulation, from plain values, so that any process can make it.

    Args:
        spec: The spec as JSON.
        sites: The sites in the order of their partition ids.
        data: The folder with all datasets.
        private: The folder for private state.
    """
    network = SimulatedNetwork(spec=Spec.model_validate_json(spec), sites=sites, data=Path(data), private=Path(private))
    return make_client_app(network.locate)
