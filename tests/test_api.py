"""Whatever is public has a registry entry, a case of the laws, a docstring of the agreed form and a strict signature."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import types

import pytest

import jaxlosses as jl
from jaxlosses import losses, registry
from tests.cases import OPTIONS


def public_functions():
    for info in pkgutil.walk_packages(losses.__path__, "jaxlosses.losses."):
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            yield name, getattr(module, name)


PUBLIC = dict(public_functions())
LOSSES = {name: function for name, function in PUBLIC.items() if "reduction" in inspect.signature(function).parameters}


def test_every_public_loss_is_registered_and_has_a_case():
    assert {name for name in jl.names() if jl.get(name).input_kind != "tree"} == set(LOSSES) == set(OPTIONS)
    assert {name for name in PUBLIC if name.endswith("_penalty")} == set(jl.names("penalties"))


def test_everything_public_is_one_import_away():
    missing = [name for name in PUBLIC if getattr(jl, name, None) is not PUBLIC[name] or name not in jl.__all__]
    assert not missing


@pytest.mark.parametrize("name", jl.names())
def test_a_spec_states_its_facts(name):
    row = jl.get(name)
    assert row.function is PUBLIC[name]
    assert row.family in row.function.__module__
    assert row.citation
    assert row.example_inputs is not None
    assert row.minimum is not None
    assert len(row.domain) == len(row.inputs)
    assert row.likelihood[0] > 0
    assert row.likelihood[1] > 0
    assert all(jl.get(alias) is row for alias in row.aliases)


@pytest.mark.parametrize("name", LOSSES)
def test_a_signature_has_inputs_first_and_everything_else_by_keyword(name):
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    for parameter in parameters:
        assert parameter.annotation is not parameter.empty
        if parameter.default is not parameter.empty:
            assert parameter.kind is parameter.KEYWORD_ONLY
    names = [parameter.name for parameter in parameters]
    assert names[-3:] == ["where", "sample_weights", "reduction"]
    assert inspect.signature(LOSSES[name]).parameters["reduction"].default == "none"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_has_its_parts(name):
    doc = inspect.getdoc(PUBLIC[name])
    parts = ["Args:", "Returns:", "Raises:", "Example:", "Reference:"]
    places = [doc.find(part) for part in parts]
    assert -1 not in places, [part for part, place in zip(parts, places, strict=True) if place == -1]
    assert places == sorted(places)
    assert re.search(r"\n {4}\S", doc[: places[0]]), "no formula"
    assert ">>> " in doc
    assert re.search(r"\b(19|20|18|17)\d\d\b", doc[places[-1] :]), "no year"
    arguments = doc[places[0] : places[1]]
    for parameter in inspect.signature(PUBLIC[name]).parameters:
        assert re.search(rf"\n {{4}}{parameter}: ", arguments), f"{parameter} is not documented"


def test_aliases_and_names_do_not_collide():
    words = [word for name in jl.names() for word in (name, *jl.get(name).aliases)]
    assert len(words) == len(set(words))


def test_a_taken_name_is_refused_and_says_by_whom():
    with pytest.raises(
        ValueError, match=r"register: 'mse' of .* is already the name of a loss in jaxlosses.losses.regression"
    ):
        jl.register("mse")(lambda predictions, targets: predictions)
    with pytest.raises(ValueError, match=r"'l2' .* already"):
        jl.register("brand_new", aliases=("l2",))(lambda predictions, targets: predictions)
    assert "brand_new" not in jl.names()


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(ValueError, match=r"^no loss named 'huber_los'; did you mean 'huber_loss'\?$"):
        jl.get("huber_los")
    with pytest.raises(ValueError, match=r"jaxlosses\.names\(\) lists all"):
        jl.get("zzzzzz")


def test_a_spec_is_callable_and_lists_its_parameters():
    assert jl.get("huber")([3.0], [0.0], delta=1.0) == 2.5
    assert jl.get("huber").inputs == ("predictions", "targets")
    assert jl.get("huber").options == ("delta",)
    assert registry.find_by_function(jl.huber_loss) is jl.get("huber_loss")
    assert registry.find_by_function(len) is None


def test_importing_changes_no_configuration_and_loads_no_extra():
    script = (
        "import jax; before = dict(jax.config.values); import jaxlosses, sys;"
        "assert dict(jax.config.values) == before;"
        "assert not {'flax', 'sklearn', 'matplotlib', 'chex', 'scipy.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_losses_of_other_packages(monkeypatch):
    """Entry points of the group `jaxlosses.losses`, looked for at the first unknown name; a broken one is named."""

    class Entry:
        def __init__(self, name, load):
            self.name, self.load = name, load
            self.dist, self.module = types.SimpleNamespace(name="elsewhere"), "elsewhere"

    def fail():
        raise ImportError("no module named 'cupy'")

    entries = [Entry("bumpy", lambda: lambda x, y: (x - y) ** 2), Entry("broken", fail)]
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: entries)
    registry._load_plugins.cache_clear()
    try:
        assert jl.get("elsewhere/bumpy").inputs == ("x", "y")
        with pytest.raises(
            ValueError,
            match=r"no loss named 'elsewhere/bumby'; did you mean 'elsewhere/bumpy'\? \(the plug-in elsewhere/broken failed: ImportError: no module",
        ):
            jl.get("elsewhere/bumby")
    finally:
        jl.unregister("elsewhere/bumpy")
        registry._load_plugins.cache_clear()
