"""Imports the programs in examples/."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from tests.support.processes import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


def import_example(name: str) -> ModuleType:
    """Return an example as a module; each call executes it again."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
