"""What a spec can say about optimisers and local terms. No torch: a spec is checked without it."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.config import Config

Beta = Annotated[float, Field(ge=0, lt=1)]


class AdamWConfig(Config):
    """AdamW (Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2).

    Attributes:
        lr: The peak rate; by default that of the paper's algorithm.
        betas: Decay of the first and second moment (Kingma and Ba, Adam, ICLR 2015). Masked pre-training often takes
            0.95 for the second.
        eps: Keeps the quotient finite (Kingma and Ba, 2015).
        weight_decay: Decoupled decay, by default that of SSL-FL (Yan et al., IEEE TMI 2023, released scripts). Biases
            and other tensors of one dimension are exempt, as there.
    """

    implementation: ClassVar[str] = "fedward_models.training.optimizer:adamw"

    name: Literal["adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)


class SGDConfig(Config):
    """Stochastic gradient descent with momentum (Sutskever et al., ICML 2013, for the Nesterov form).

    Attributes:
        lr: The peak rate; by default that of LG-FedAvg (Liang et al., arXiv:2001.01523, released code).
        momentum: Decay of the velocity; by default that of LG-FedAvg.
        weight_decay: Added to the gradient of every parameter, biases and norms included; none in LG-FedAvg.
        nesterov: Look ahead along the velocity.
        peak_momentum: The momentum at the peak rate; in between it falls as the rate rises, in proportion. 0.8 in fast
            adversarial training (Wong et al., ICLR 2020, released code); null for a momentum that stays the same.
    """

    implementation: ClassVar[str] = "fedward_models.training.optimizer:sgd"

    name: Literal["sgd"] = "sgd"
    lr: float = Field(default=0.1, gt=0)
    momentum: Beta = 0.5
    weight_decay: float = Field(default=0.0, ge=0)
    nesterov: bool = False
    peak_momentum: Beta | None = None

    @model_validator(mode="after")
    def _check_nesterov(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov has no effect with momentum 0: leave it out, or raise momentum")
        return self


class LARSConfig(Config):
    """SGD whose steps are as long as each layer's weights allow (LARS, You et al., arXiv:1708.03888).

    The defaults are those of MoCo v3 (Chen et al., ICCV 2021, released settings of its ResNet-50 over 100 epochs).
    Biases and other tensors of one dimension neither decay nor adapt, as there.

    Attributes:
        lr: The peak rate; MoCo v3's is 0.6 for 256 images a step, in proportion to them.
        momentum: Decay of the velocity.
        weight_decay: Added to the gradient before its length is measured.
        trust: The length of a layer's step over that of its weights, at rate 1.
    """

    implementation: ClassVar[str] = "fedward_models.training.optimizer:lars"

    name: Literal["lars"] = "lars"
    lr: float = Field(default=0.6, gt=0)
    momentum: Beta = 0.9
    weight_decay: float = Field(default=1e-6, ge=0)
    trust: float = Field(default=0.001, gt=0)


class ProximalConfig(Config):
    """The proximal term of FedProx (Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020, eq. 2).

    Attributes:
        mu: The strength. 0 is FedAvg; towards infinity the site stands still. The paper tunes over 0.001, 0.01, 0.1 and
            1; which of these is the default was decided here.
    """

    implementation: ClassVar[str] = "fedward_models.training.terms:Proximal"

    name: Literal["proximal"] = "proximal"
    mu: float = Field(default=0.01, ge=0)
