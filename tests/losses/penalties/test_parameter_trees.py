"""Which parameters count in the trees of Flax, Haiku and Equinox, under which paths, and what `select` takes of them."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxlosses as jl

PENALTIES = [jl.l1_penalty, jl.l2_penalty, jl.elastic_net_penalty]


def paths_of(tree):
    """The paths that `select` is asked about."""
    paths = []
    jl.l2_penalty(tree, select=lambda path, leaf: paths.append(path) or True)
    return paths


class Encoder(nnx.Module):
    """A kernel of 0.5 and 1, a bias of 10, and a norm whose scale is 0.1, with statistics of 100."""

    def __init__(self):
        self.encoder = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
        self.encoder.kernel[...] = jnp.array([[0.5], [1.0]])
        self.encoder.bias[...] = jnp.array([10.0])
        self.norm = nnx.BatchNorm(1, rngs=nnx.Rngs(0))
        self.norm.scale[...], self.norm.bias[...] = jnp.array([0.1]), jnp.array([0.0])
        self.norm.mean[...], self.norm.var[...] = jnp.array([100.0]), jnp.array([100.0])
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))  # its random state is a Variable too
        self.constant = nnx.data(jnp.array([1000.0]))


ENCODER_PATHS = ["encoder/bias", "encoder/kernel", "norm/bias", "norm/scale"]
NNX = {
    "module": Encoder,
    "state": lambda: nnx.state(Encoder()),
    "state of parameters": lambda: nnx.state(Encoder(), nnx.Param),
    "split": lambda: nnx.split(Encoder())[1],
    "split by kind": lambda: nnx.split(Encoder(), nnx.Param, ...)[1],
    "pure state of parameters": lambda: nnx.State(nnx.to_pure_dict(nnx.state(Encoder(), nnx.Param))),
    "pure dict of parameters": lambda: nnx.to_pure_dict(nnx.state(Encoder(), nnx.Param)),
}


@pytest.mark.parametrize("form", NNX)
def test_nnx_parameters_count_and_nothing_else(form):
    tree = NNX[form]()
    assert sorted(paths_of(tree)) == ENCODER_PATHS
    for call in (jl.l2_penalty, jax.jit(jl.l2_penalty)):
        np.testing.assert_allclose(call(tree), 0.25 + 1 + 100 + 0.01, rtol=1e-6)
    np.testing.assert_allclose(jl.l2_penalty(tree, select="*/kernel"), 1.25)
    np.testing.assert_allclose(jl.l1_penalty(tree, select="*/kernel"), 1.5)
    np.testing.assert_allclose(
        jl.elastic_net_penalty(tree, alpha=2.0, l1_ratio=0.25, select=["*/kernel", "norm/scale"]),
        2 * (0.25 * 1.6 + 0.75 / 2 * 1.26),
        rtol=1e-6,
    )
    matrices = jl.l2_penalty(tree, select=lambda path, leaf: leaf.ndim == 2 and path == "encoder/kernel")
    np.testing.assert_allclose(matrices, 1.25)


def test_nnx_gradients_by_module_and_by_state():
    def penalty(model):
        return jl.l2_penalty(model, select="*/kernel")

    gradients = [nnx.grad(penalty)(Encoder()), nnx.jit(nnx.value_and_grad(penalty))(Encoder())[1]]
    gradients += [jax.grad(penalty)(NNX[form]()) for form in ("state of parameters", "pure dict of parameters")]
    for gradient in gradients:
        assert jl.l2_penalty(gradient, select="encoder/*") == jl.l2_penalty(gradient)  # the others are 0
        np.testing.assert_allclose(jax.tree.leaves(gradient["encoder"]["kernel"])[0], [[1.0], [2.0]])


def test_nnx_variables_that_layers_share_count_once():
    class Tied(nnx.Module):
        def __init__(self):
            self.embed = nnx.Param(jnp.array([3.0]))
            self.head = self.embed

    assert jl.l2_penalty(Tied()) == jl.l2_penalty(nnx.state(Tied())) == 9
    assert paths_of(Tied()) == ["embed"]
    assert nnx.jit(jl.l2_penalty)(Tied()) == 9


def test_a_flat_state_has_the_paths_of_its_state():
    state = nnx.state(Encoder())
    flat = nnx.to_flat_state(state)
    assert paths_of(flat) == paths_of(state)
    assert jl.l2_penalty(flat) == jl.l2_penalty(state)
    assert jl.l2_penalty(flat, select="*/kernel") == jl.l2_penalty(state, select="*/kernel")


def test_nnx_variables_of_other_kinds():
    class Frozen(nnx.Variable):
        pass

    class Trained(nnx.Param):
        pass

    tree = {"net": nnx.State({"a": Frozen(jnp.array(3.0)), "b": Trained(jnp.array(2.0))}), "loss": jnp.array(1.0)}
    assert paths_of(tree) == ["loss", "net/b"]
    assert jl.l2_penalty(tree) == 5
    assert jl.l2_penalty({"a": nnx.BatchStat(jnp.array(3.0)), "b": nnx.Param(jnp.array(2.0))}) == 4
    assert paths_of(nnx.Param({"in": jnp.ones(2), "out": [jnp.ones(1)]})) == ["in", "out/0"]
    assert jl.l2_penalty(nnx.state(Encoder(), nnx.BatchStat)) == 0


def test_linen_parameters():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            ones = nn.with_partitioning(nn.initializers.constant(2.0), ("in", "out"))
            x = nn.Dense(1, kernel_init=ones, bias_init=nn.initializers.constant(3.0), name="encoder")(x)
            return nn.BatchNorm(use_running_average=True, name="norm")(x)

    variables = Net().init(jax.random.key(0), jnp.ones((1, 2)))
    for params in (variables["params"], nn.meta.unbox(variables["params"])):  # the kernel is boxed with axis names
        assert paths_of(params) == ENCODER_PATHS
        assert jl.l2_penalty(params) == 2 * 4 + 9 + 1
        assert jl.l2_penalty(params, select="*/kernel") == 8
        slopes = jax.grad(lambda p: jl.l2_penalty(p, select="*/kernel"))(params)
        np.testing.assert_array_equal(jax.tree.leaves(slopes["encoder"]["kernel"])[0], [[4.0], [4.0]])
    assert jl.l2_penalty(variables) == 18 + 1  # a dict counts whole: the running variance is 1


def test_haiku_parameters():
    @hk.without_apply_rng
    @hk.transform
    def net(x):
        two, three = (hk.initializers.Constant(value) for value in (2.0, 3.0))
        return hk.nets.MLP([1, 1], w_init=two, b_init=three)(hk.Linear(1, w_init=two, b_init=three)(x))

    params = net.init(jax.random.key(0), jnp.ones((1, 2)))
    modules = ("linear", "mlp/~/linear_0", "mlp/~/linear_1")
    assert paths_of(params) == [f"{module}/{name}" for module in modules for name in "bw"]
    assert jl.l2_penalty(params) == 3 * 9 + 4 * 4
    assert jl.l2_penalty(params, select="*/w") == 4 * 4
    assert jl.l2_penalty(params, select="linear/w") == 2 * 4
    assert jl.l2_penalty(params, select=["mlp/*/w", "linear/b"]) == 2 * 4 + 9


def test_equinox_modules():
    net = (eqx.nn.MLP(2, 1, 1, 1, key=jax.random.key(0)), eqx.nn.Dropout(0.5))
    two = jax.tree.map(lambda leaf: jnp.full_like(leaf, 2.0) if eqx.is_array(leaf) else leaf, net)
    mlp, _ = two
    assert paths_of(mlp) == [f"layers/{index}/{name}" for index in (0, 1) for name in ("weight", "bias")]
    for call in (jl.l2_penalty, eqx.filter_jit(jl.l2_penalty)):
        assert call(two) == call(eqx.filter(two, eqx.is_inexact_array)) == 5 * 4  # the rate of the dropout is no array
    assert jl.l2_penalty(mlp, select="*/weight") == 3 * 4
    assert jl.l2_penalty(mlp, select="layers/0/*") == 3 * 4
    slopes = eqx.filter_grad(lambda net: jl.l2_penalty(net, select="*/weight"))(mlp)
    np.testing.assert_array_equal(slopes.layers[0].weight, [[4.0, 4.0]])
    np.testing.assert_array_equal(slopes.layers[0].bias, [0.0])


TREE = {"kernel": jnp.array([2.0]), "block": {"kernel": jnp.array([3.0]), "bias": jnp.array([5.0])}}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("*", 38),
        ("*/kernel", 13),
        ("kernel", 4),
        ("block/*", 34),
        ("block/?ias", 25),
        ("*/[bk]ias", 25),
        ("*/*/kernel", 9),
        (["kernel", "*/bias"], 29),
        (("block/kernel",), 9),
        (["*/bias", "block/kernel"], 34),
    ],
)
def test_patterns(select, expected):
    assert jl.l2_penalty(TREE, select=select) == expected


def test_a_pattern_of_a_single_array():
    assert jl.l2_penalty(jnp.array([2.0]), select="*") == 4


def test_two_leaves_of_one_path_both_count():
    assert jl.l2_penalty({"a/b": jnp.array(2.0), "a": {"b": jnp.array(3.0)}}) == 13


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_select_that_takes_nothing_is_an_error(penalty):
    name = penalty.__name__
    paths = "'block/bias', 'block/kernel', 'kernel'"
    with pytest.raises(
        ValueError,
        match=rf"^{name}: select='\*/kernle' takes no parameter; there are {paths}; did you mean '\*/kernel'\?$",
    ):
        penalty(TREE, select="*/kernle")
    with pytest.raises(ValueError, match=r"select=\['block/kernel/value'\] .*; did you mean 'block/kernel'\?$"):
        penalty(TREE, select=["block/kernel/value"])
    with pytest.raises(ValueError, match=rf"^{name}: select=<lambda> takes no parameter; there are {paths}$"):
        penalty(TREE, select=lambda path, leaf: False)
    with pytest.raises(ValueError, match=r"takes no parameter; there are no floating arrays \(or, for nnx, no nnx"):
        penalty({"steps": jnp.array(7)}, select="*")
    with pytest.raises(
        ValueError,
        match=rf"^{name}: '\*/kernle' in select=\['\*/bias', '\*/kernle'\] takes no parameter; there are {paths}; did you "
        r"mean '\*/kernel'\?$",
    ):
        penalty(TREE, select=["*/bias", "*/kernle"])
    with pytest.raises(ValueError, match=r"select=\[\] takes no parameter"):
        penalty(TREE, select=[])
    many = {f"layer{index}": jnp.ones(1) for index in range(9)}
    with pytest.raises(ValueError, match=r"there are 'layer0', .*, 'layer5' and 3 more$"):
        penalty(many, select="*/kernel")


@pytest.mark.usefixtures("_annotations_off")
@pytest.mark.parametrize("select", [3, ["*/kernel", 3]])
def test_a_select_of_another_kind(select):
    with pytest.raises(TypeError, match=r"^l2_penalty: select must be a pattern such as '\*/kernel', a list of patter"):
        jl.l2_penalty(TREE, select=select)


def test_a_complex_leaf_that_select_leaves_out_is_no_error():
    assert jl.l2_penalty({"a": np.ones(2, np.complex64), "b": jnp.array(2.0)}, select="b") == 4


def test_no_framework_is_imported():
    """The rows of the table in `_parameter_trees` need their frameworks in the tests only."""
    import jaxlosses.losses.penalties._parameter_trees as module

    assert not {"flax", "nnx", "equinox", "haiku"} & set(vars(module))


@pytest.mark.parametrize("select", ["*/kernel", ["*/kernel", "encoder/kernel"]])
def test_patterns_are_options_of_a_term(select):
    term = jl.Term("l2_penalty", "model", weight=0.5, options={"select": select})
    objective = jl.Objective({"fit": jl.Term("squared_error", ("out", "y")), "decay": term})
    data = {"out": jnp.array([3.0]), "y": jnp.array([1.0])}
    for model in (Encoder(), nnx.state(Encoder()), nnx.to_pure_dict(nnx.state(Encoder(), nnx.Param))):
        for again in (objective, jl.Objective.from_config(objective.to_config())):
            total, aux = again({**data, "model": model})
            np.testing.assert_allclose(aux["loss"]["decay"], 1.25)
            np.testing.assert_allclose(total, 4 + 0.5 * 1.25)
    assert jl.Objective.from_config(objective.to_config()) == objective
    assert objective.to_config()["terms"]["decay"]["options"] == {"select": select}
    gradient = nnx.grad(lambda model: objective({**data, "model": model})[0])(Encoder())
    np.testing.assert_allclose(gradient["encoder"]["kernel"][...], [[0.5], [1.0]])


def test_what_is_no_select_is_refused_when_the_objective_is_made():
    for wrong in (3, True):
        with pytest.raises(
            ValueError, match=r"^term 'decay': loss 'l2_penalty': option 'select' must be a string or a"
        ):
            jl.Objective({"decay": jl.Term("l2_penalty", "params", options={"select": wrong})})
    jl.Objective({"decay": jl.Term("l2_penalty", "params", options={"select": lambda path, leaf: leaf.ndim > 1})})
    unknown = jl.Objective({"decay": jl.Term("l2_penalty", "params", options={"select": "*/w"})})
    with pytest.raises(
        ValueError, match=r"^term 'decay': l2_penalty: select='\*/w' takes no parameter; there are 'blo"
    ):
        unknown({"params": TREE})
