"""Steps whose inputs are an environment's artifacts, by name.

ZenML reads a step's inputs from its function's signature, and loads the step by module and attribute,
in a pod too. So each set of names gets its own function, which the step's module recreates in
``__getattr__``.
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
    """A variant of ``function`` with a parameter of type ``form`` for each name, instead of its dictionary
    parameter ``into``.

    Args:
        name: name of the variant.
        returns: return annotation of the variant; default: that of ``function``.
    """
    inputs = sorted(names)

    @functools.wraps(function)
    def variant(**arguments: Any) -> Any:
        values = {input_: form(arguments.pop(input_)) for input_ in inputs}
        return function(**arguments, **{into: values})

    signature = inspect.signature(function)
    kind = inspect.Parameter.KEYWORD_ONLY
    own = [p.replace(kind=kind) for p in signature.parameters.values() if p.name != into]
    added = [inspect.Parameter(input_, kind, annotation=form) for input_ in inputs]
    variant.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=sorted([*own, *added], key=lambda p: p.default is not p.empty),
        return_annotation=returns or signature.return_annotation,
    )
    variant.__name__ = name
    return variant


class StepByName:
    """A step whose function has a parameter ``artifacts``, a dictionary of paths. ``options`` are those of
    ZenML's decorator ``step``."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        self._function, self._options = function, options

    def taking(self, names: Iterable[str]) -> BaseStep:
        """The variant with an input for each of these artifacts."""
        inputs = sorted(names)
        own = self._function.__name__
        function = with_inputs(self._function, inputs, own + _OF + "__".join(inputs))
        return step(name=own, **self._options)(function)

    def find(self, attribute: str) -> BaseStep:
        """For the module's ``__getattr__``.

        Raises:
            AttributeError: the attribute is not a variant of the step.
        """
        name, of, names = attribute.partition(_OF)
        if name != self._function.__name__ or not of:
            raise AttributeError(attribute)
        return self.taking(names.split("__") if names else ())
