"""Imports run down: who may import whom, and no circles, read from the source."""

import ast
import graphlib
from pathlib import Path

import pytest

import jaxlosses

ROOT = Path(jaxlosses.__file__).parent
MODULES = {".".join(("jaxlosses", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")}
MAY_IMPORT = {
    "core": set(),
    "registry": {"core"},
    "losses": {"core", "registry"},
    "combine": {"core"},
    "objective": {"combine", "core", "registry"},
    "gradients": {"core"},
    "balance": {"core"},
    "feature_extractors": {"core"},
    "testing": {"core", "registry"},
}
FREE = {"__init__", "__main__", "demo"}  # what imports from anywhere


def module_name(name):
    return f"{name}.__init__" if f"{name}.__init__" in MODULES else name


def imports_of(path):
    """The modules of ours that a file imports, at any depth of its code, under `TYPE_CHECKING` too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                inner = module_name(f"{node.module}.{alias.name}")
                found.add(inner if inner in MODULES else node.module)
    return {module_name(name) for name in found if name.split(".")[0] == "jaxlosses"}


IMPORTS = {name: imports_of(path) for name, path in MODULES.items()}


def package_of(module):
    return module.split(".")[1]


@pytest.mark.parametrize("module", sorted(name for name in MODULES if package_of(name) not in FREE))
def test_imports_run_down(module):
    allowed = MAY_IMPORT[package_of(module)] | {package_of(module)}
    wrong = {name for name in IMPORTS[module] if package_of(name) not in allowed}
    assert not wrong, f"{module} must not import {sorted(wrong)}"


def test_there_are_no_circles():
    order = [*graphlib.TopologicalSorter(IMPORTS).static_order()]
    assert order.index("jaxlosses.core.errors") < order.index("jaxlosses.objective.objective")


def test_only_public_modules_stand_at_the_root():
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "registry.py"}
    assert {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"} == {
        *("core", "losses", "combine", "objective", "gradients", "balance", "feature_extractors", "testing", "demo")
    }
    assert not [path for path in ROOT.rglob("*.py") if path.stem in ("utils", "misc", "helpers")]


def test_the_rule_catches_what_it_forbids(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from jaxlosses.objective import Term\n    import jaxlosses.losses.boxes\n")
    assert imports_of(bad) == {"jaxlosses.objective.__init__", "jaxlosses.losses.boxes.__init__"}
