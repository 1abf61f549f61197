"""From the vectors of many instances to one: attention as in multiple-instance learning.

Paper: M. Ilse, J. Tomczak, M. Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018, eq. 7 and 8.

Letters: B bags, N instances, E width.
"""

from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """A weighted mean whose weights, softmax(w tanh(V h)), come from the instances.

    Args:
        width: E.
        hidden: Rows of V; decided by who uses it, 128 in the paper's experiments.
    """

    def __init__(self, width: int, *, hidden: int) -> None:
        super().__init__()
        self.hidden, self.score = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, 1, bias=False)

    def forward(self, instances: Tensor) -> Tensor:
        """(B, N, E) to (B, E)."""
        weights: Tensor = self.score(self.hidden(instances).tanh()).softmax(dim=1)
        return (weights * instances).sum(dim=1)
