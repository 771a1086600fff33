"""Steps that take artifacts by name, whatever an environment calls them.

ZenML reads a step's inputs from its function's signature and finds the step again, in a pod too, by
module and attribute. So each set of names gets a function of its own, and the step's module finds
it again through ``__getattr__``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from zenml import step
from zenml.steps import BaseStep

_OF = "__of__"  # between a step's name and those of its artifacts


def with_inputs(
    function: Callable[..., Any],
    names: Iterable[str],
    name: str,
    *,
    into: str = "artifacts",
    form: type[Any] = Path,
    returns: Any = None,
) -> Callable[..., Any]:
    """A function with a parameter of type ``form`` for each of the names, in place of the parameter
    ``into`` of ``function``: a dictionary of them.

    Args:
        name: its own.
        returns: its return annotation, if not that of ``function``.
    """
    wanted = sorted(names)

    @functools.wraps(function)
    def variant(**arguments: Any) -> Any:
        given = {one: form(arguments.pop(one)) for one in wanted}
        return function(**arguments, **{into: given})

    signature = inspect.signature(function)
    kind = inspect.Parameter.KEYWORD_ONLY
    own = [p.replace(kind=kind) for p in signature.parameters.values() if p.name != into]
    inputs = [inspect.Parameter(one, kind, annotation=form) for one in wanted]
    variant.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=sorted([*own, *inputs], key=lambda p: p.default is not p.empty),
        return_annotation=returns or signature.return_annotation,
    )
    variant.__name__ = name
    return variant


class StepByName:
    """A step whose function has a parameter ``artifacts``: paths by name.

    Args:
        options: of ZenML's decorator ``step``.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self._function, self._options = function, options

    def taking(self, names: Iterable[str]) -> BaseStep:
        """The step with an input for each of these artifacts."""
        wanted = sorted(names)
        own = self._function.__name__
        function = with_inputs(self._function, wanted, own + _OF + "__".join(wanted))
        return step(name=own, **self._options)(function)

    def find(self, attribute: str) -> BaseStep:
        """For the module's ``__getattr__``.

        Raises:
            AttributeError: this is no variant of the step.
        """
        name, of, names = attribute.partition(_OF)
        if name != self._function.__name__ or not of:
            raise AttributeError(attribute)
        return self.taking(names.split("__") if names else ())
