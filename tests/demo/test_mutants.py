"""The promises that `make mutants` measures: their modules and tests exist."""

import pytest

from demo.environment import ROOT
from tests.mutants import PROMISES


@pytest.mark.parametrize("name", PROMISES)
def test_a_promise_names_what_exists(name: str) -> None:
    promise = PROMISES[name]

    assert [each for each in promise.modules if not (ROOT / "include" / each).is_file()] == []
    assert [each for each in promise.tests if not (ROOT / each).exists()] == []
    for each in promise.without:
        path, _, test = each.partition("::")
        assert f"def {test.partition('[')[0]}(" in (ROOT / path).read_text()
