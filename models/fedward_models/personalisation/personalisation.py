"""The contract of every personalisation: it says which entries stay at a site, and may add terms to the local loss.

A personalisation narrows what a method shares. It never touches what the method itself keeps private or frozen.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable

from fedward_core.partition import Partition, Role, Rule
from fedward_core.spec import PersonalisationConfig
from fedward_models.method import Method
from fedward_models.training.terms import LocalTerm


class Personalisation(ABC):
    """The base of every personalisation.

    Args:
        config: Its settings.
    """

    def __init__(self, config: PersonalisationConfig) -> None:
        self.config = config

    @abstractmethod
    def rules(self, method: Method) -> tuple[Rule, ...]:
        """What is shared, private or frozen, for every name of the method's state.

        Raises:
            SpecError: The method has no such part, so that the personalisation would have no effect.
        """

    def terms(self, method: Method, partition: Partition) -> tuple[LocalTerm, ...]:  # noqa: ARG002 - the family's
        """Local terms for a round with this partition. By default there are none."""
        return ()


def narrowed(method: Method, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The method's own rules, with ``rules`` deciding first over what the method shares whole."""
    own = method.rules()
    kept = tuple(
        rule.model_copy(update={"pattern": re.escape(name)})
        for name in method.state_dict()
        if (rule := _first(own, name)) and (rule.role is not Role.SHARED or rule.cuts)
    )
    return (*kept, *rules, *own)


def private(names: Iterable[str]) -> tuple[Rule, ...]:
    """Rules that keep whole entries at the site."""
    return tuple(Rule(pattern=re.escape(name), role=Role.PRIVATE) for name in names)


def _first(rules: Iterable[Rule], name: str) -> Rule | None:
    return next((rule for rule in rules if re.fullmatch(rule.pattern, name)), None)
