"""The settings of FedBYOL, without torch."""

from typing import ClassVar, Literal

from pydantic import Field

from fedward_core.cards import DataNeed
from fedward_core.spec import MethodConfig
from fedward_models.data.batches.view_settings import ViewSettings

# Views without what distorts radiographs: hue, saturation and solarisation.
FIRST_VIEW = ViewSettings(saturation=0.0, hue=0.0, blur=1.0)
SECOND_VIEW = ViewSettings(saturation=0.0, hue=0.0, blur=0.1)


class FedBYOLConfig(MethodConfig):
    """BYOL (Grill et al., NeurIPS 2020) under plain federated averaging, a baseline of SSL-FL (Yan et al., TMI 2023).

    BYOL takes hidden layers of 4096 and features of 256 beside a ResNet-50; the smaller defaults are decided here, as
    those of the backbone are.

    Attributes:
        hidden: Units of the hidden layer of projector and predictor.
        width: Features that are predicted.
        momentum: What the target keeps of itself in the first step; it rises to 1 as half a cosine. 0.996 in BYOL.
        target: ``keep`` leaves the target at the site from round to round; ``rebuild`` copies it from the received
            weights at the start of each round. Decided here: ``keep``.
        first_view: How the first view is drawn. Crops keep at least 0.2 of the area, so that a lesion is not cut away
            (published 0.08), and colours are not turned.
        second_view: How the second view is drawn; published with solarisation at 0.2.
    """

    implementation: ClassVar[str] = "fedward_models.methods.fedbyol.fedbyol:FedBYOL"
    need: ClassVar[DataNeed | None] = DataNeed.TWO_VIEWS
    needs_labels: ClassVar[bool] = False

    name: Literal["fedbyol"] = "fedbyol"
    hidden: int = Field(default=512, ge=1)
    width: int = Field(default=128, ge=1)
    momentum: float = Field(default=0.996, ge=0, le=1)
    target: Literal["keep", "rebuild"] = "keep"
    first_view: ViewSettings = FIRST_VIEW
    second_view: ViewSettings = SECOND_VIEW
