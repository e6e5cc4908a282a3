"""The examples in docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import xinet_jax

MODULES = [
    module.name
    for module in pkgutil.walk_packages(xinet_jax.__path__, "xinet_jax.")
    if not module.ispkg and ">>> " in (importlib.util.find_spec(module.name).loader.get_source(module.name) or "")
]


def test_there_are_examples():
    assert len(MODULES) >= 10


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed
