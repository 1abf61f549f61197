"""The contract of every personalisation: which entries stay at a site, and how a round trains there.

    extend -> rules -> at every round: phases, with terms -> fit        at every evaluation: evaluated

A personalisation narrows what a method shares. It never touches what the method itself keeps private or frozen.
"""

import re
from collections.abc import Iterable

from fedward_core.errors import SpecError
from fedward_core.partition import Partition, Role, Rule
from fedward_core.spec import Local, PersonalisationConfig
from fedward_models.method import Method
from fedward_models.training.phase import Phase
from fedward_models.training.terms import LocalTerm


class Personalisation:
    """The base of every personalisation.

    Args:
        config: Its settings.
    """

    def __init__(self, config: PersonalisationConfig) -> None:
        self.config = config

    def extend(self, method: Method) -> None:
        """Give a method what this personalisation keeps beside it, as part of its state: a counter, a second model.

        Called once for each method that is built, after it inherited and before :meth:`rules`.

        Raises:
            SpecError: The method lacks what this personalisation needs.
        """

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """What is shared, private or frozen, for every name of the method's state. By default what the method says.

        Raises:
            SpecError: The method has no such part, so that the personalisation would have no effect.
        """
        return method.rules()

    def terms(self, method: Method, partition: Partition) -> tuple[LocalTerm, ...]:  # noqa: ARG002 - the family's
        """Local terms for a round with this partition. By default there are none."""
        return ()

    def phases(
        self,
        method: Method,
        partition: Partition,
        *,
        local: Local,
        terms: tuple[LocalTerm, ...],
        joining: bool,  # noqa: ARG002 - the signature of the family
    ) -> tuple[Phase, ...]:
        """How a round trains. By default everything at once.

        Args:
            method: The method, extended.
            partition: What is shared and private after the round.
            local: The stage's settings of training.
            terms: The stage's own local terms.
            joining: Whether the site enters a stage that others have begun.
        """
        return (Phase(local=local, terms=terms + self.terms(method, partition)),)

    def evaluated(self, method: Method, partition: Partition) -> Method:  # noqa: ARG002 - the signature of the family
        """What a site evaluates: a method with the site's own state, of this partition. By default itself."""
        return method


def narrowed(method: Method, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The method's own rules, with ``rules`` deciding first over what the method shares whole.

    Raises:
        SpecError: The method shares nothing of what ``rules`` are about, so that they would have no effect.
    """
    own, rules = method.rules(), tuple(rules)
    found = {name: _first(own, name) for name in method.state_dict()}
    kept = {name: rule for name, rule in found.items() if rule and (rule.role is not Role.SHARED or rule.cuts)}
    if not any(_first(rules, name) for name in found.keys() - kept.keys()):
        raise SpecError(
            "the personalisation would have no effect: what it keeps at a site, the method never shares, perhaps "
            "since its backbone is frozen. Leave personalise out, or choose another one"
        )
    named = (rule.model_copy(update={"pattern": re.escape(name)}) for name, rule in kept.items())
    return (*named, *rules, *own)


def private(names: Iterable[str]) -> tuple[Rule, ...]:
    """Rules that keep whole entries at the site."""
    return tuple(Rule(pattern=re.escape(name), role=Role.PRIVATE) for name in names)


def _first(rules: Iterable[Rule], name: str) -> Rule | None:
    return next((rule for rule in rules if re.fullmatch(rule.pattern, name)), None)
