"""The ledger's wings: each method is one function of the ledger, in a transaction of its own."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from sms.ledger.wings import People, Reports, Runs, StopList, Submissions, Wing

WINGS = (Runs, Submissions, StopList, Reports, People)
METHODS = [
    pytest.param(wing, method, id=f"{wing.__name__}.{name}")
    for wing in WINGS
    for name, method in vars(wing).items()
    if inspect.isfunction(method)
]


@pytest.mark.parametrize(("wing", "method"), METHODS)
def test_a_method_has_its_functions_signature_and_documentation(
    wing: type[Wing], method: Callable[..., Any]
) -> None:
    function = inspect.unwrap(method)
    takes, *rest = inspect.signature(function).parameters.values()
    bound = method.__get__(object.__new__(wing))

    assert takes.name == "tx"
    assert list(inspect.signature(bound).parameters.values()) == rest
    assert inspect.getdoc(bound) == inspect.getdoc(function)
    assert inspect.getdoc(function)
