"""The settings of masked token prediction."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from fedward_core.config import Config, chosen_from
from fedward_core.spec import MethodConfig
from fedward_models.data.batches.view_settings import ViewSettings

TokenizerChoice = Annotated[SerializeAsAny[Config], BeforeValidator(chosen_from("tokenizers"))]


class BEiTConfig(MethodConfig):
    """Masked prediction of visual tokens (Bao et al., BEiT, ICLR 2022), as federated by SSL-FL (Yan et al., TMI 2023).

    Attributes:
        mask_ratio: The part of the patches that is hidden, at most. 0.4 is the best of SSL-FL's ablation and the
            default of its code; its newest script for retina images takes 0.5.
        drop_path: The rate at which the last block is skipped in pre-training; it grows linearly from 0 at the first
            block. 0.1 in every published script. The backbone's own rate is for fine-tuning.
        tokenizer: What gives each patch its token. ``dalle`` is published and needs a file at every site; the default
            is a substitute that needs none.
        view: How a random view of each image is drawn; null to take images as they come.
    """

    implementation: ClassVar[str] = "fedward_models.methods.beit.beit:BEiT"
    needs_labels: ClassVar[bool] = False

    name: Literal["beit"] = "beit"
    mask_ratio: float = Field(default=0.4, gt=0, lt=1)
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    tokenizer: TokenizerChoice = Field(default_factory=lambda: chosen_from("tokenizers")("patch_codebook"))
    view: ViewSettings | None = None
