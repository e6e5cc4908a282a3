"""Exports: every format computes what the policy does, is checked before it is written, and takes no wrong input."""

import ctypes
import json
import shutil
import subprocess
import sys

import jax.export
import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import random_policy

from xinet_jax.cli import main
from xinet_jax.errors import UserError
from xinet_jax.policy import files
from xinet_jax.policy.export import to_c, to_numpy
from xinet_jax.policy.export.check import checked_difference, random_observations
from xinet_jax.policy.export.target import FORMATS, identifier
from xinet_jax.policy.forward import Layer, Network, act

KINDS = {
    "dense": random_policy(),
    "one block is lost": random_policy(blocks=(4, 0, 2)),
    "every block is lost": random_policy(blocks=(0, 0)),
    "no extractor": random_policy(blocks=(), agent="sac", nu=None),
    "other actions": random_policy(action_scale=(2.0, 0.4, 1.0), action_offset=(0.5, 0.0, -3.0)),
}
OBSERVATIONS = 3.0 * np.random.default_rng(1).normal(size=(20, 11)).astype(np.float32)
needs_compiler = pytest.mark.skipif(to_c.compiler() is None, reason="no C compiler")


def run_onnx(file, observations):
    return onnxruntime.InferenceSession(file).run(None, {"observation": observations})[0]


def run_stablehlo(file, observations):
    return np.asarray(jax.export.deserialize(bytearray(file.read_bytes())).call(observations))


def run_numpy(file, observations):
    """In a process that has neither JAX nor this package, by the module that was written beside the file."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys(("jax", "jaxlib", "xinet_jax")))
import numpy as np
from {identifier(file)} import load
policy, about = load({file.name!r})
observations = np.load("observations.npy")
actions = policy(observations)
assert np.allclose(policy(observations[0]), actions[0], atol=1e-5) and policy(observations[0]).ndim == 1
assert about["parameters"].isdigit()
np.save("actions.npy", actions)
"""
    np.save(file.with_name("observations.npy"), observations)
    subprocess.run([sys.executable, "-c", code], cwd=file.parent, check=True)
    return np.load(file.with_name("actions.npy"))


def run_c(file, observations):
    """As part of a shared library, from two translation units."""
    name, folder = identifier(file), file.parent
    (folder / "library.c").write_text(
        f'#include "{file.name}"\nvoid act(const float *x, float *action) {{ {name}(x, action); }}\n'
    )
    (folder / "other.c").write_text(
        f'#include "{file.name}"\n#include "{file.name}"\nint other = {name.upper()}_ACTION;\n'
    )
    words = [
        to_c.compiler(),
        *to_c.WARNINGS,
        "-O2",
        "-shared",
        "-fPIC",
        "library.c",
        "other.c",
        "-lm",
        "-o",
        "policy.so",
    ]
    subprocess.run(words, cwd=folder, check=True)
    library, actions = ctypes.CDLL(str(folder / "policy.so")), np.zeros((len(observations), 3), np.float32)
    for observation, action in zip(observations, actions, strict=True):
        library.act(np.ascontiguousarray(observation).ctypes, action.ctypes)
    assert ctypes.c_int.in_dll(library, "other").value == 3
    return actions


RUN = {"onnx": run_onnx, "stablehlo": run_stablehlo, "numpy": run_numpy, "c": run_c}


@pytest.mark.parametrize("format", [pytest.param(f, marks=needs_compiler) if f == "c" else f for f in RUN])
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_computes_what_the_policy_does(kind, format, tmp_path):
    policy = KINDS[kind]
    result = policy.export(tmp_path / f"my hopper{FORMATS[format].ending}", format)
    assert result.difference < 2e-5
    assert {*result.files} == {*tmp_path.iterdir()}
    for rows in (20, 1):
        actions = RUN[format](result.files[0], OBSERVATIONS[:rows])
        np.testing.assert_allclose(actions, policy(OBSERVATIONS[:rows]), atol=2e-5)


def test_what_is_in_an_onnx_file(tmp_path):
    (file,) = KINDS["dense"].export(tmp_path / "hopper.onnx").files
    model = onnx.load(file)
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "task": "Hopper-v5",
        "agent": "xinet",
        "seed": "3",
        "nu": "400",
        "environment_steps": "10",
        "parameters": str(KINDS["dense"].structure.parameters),
        "xinet_jax": "0.1.0",
    }
    shapes = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [["batch", 11], ["batch", 3]]
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["observation", "action"]


def test_a_stablehlo_file_is_for_every_platform(tmp_path):
    (file,) = KINDS["dense"].export(tmp_path / "hopper.stablehlo", "stablehlo").files
    exported = jax.export.deserialize(bytearray(file.read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert [str(aval) for aval in (*exported.in_avals, *exported.out_avals)] == [
        "float32[batch,11]",
        "float32[batch,3]",
    ]


def test_a_numpy_file_has_no_pickle(tmp_path):
    archive, _ = KINDS["dense"].export(tmp_path / "hopper.npz", "numpy").files
    with np.load(archive, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "fUb" for name in arrays.files)
        assert json.loads(arrays["about"].item())["task"] == "Hopper-v5"


@needs_compiler
def test_a_header_is_cpp_too(tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    policy = random_policy(agent='*/ #error "code" /*\n', nu=None)
    (file,) = policy.export(tmp_path / "policy.h", "c").files
    (tmp_path / "main.cc").write_text(
        '#include "policy.h"\nint main() { float x[11] = {}, y[3]; xinet_policy(x, y); }\n'
    )
    words = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "main.cc", "-o", "main"]
    subprocess.run(words, cwd=tmp_path, check=True)
    assert file.read_text().count("*/") == 1 + len(policy.network.layers)


@pytest.mark.parametrize("value", [0.0, -1.0, 0.1, 1e-45, -3.4028235e38, 16777217.0, 1.0000001])
def test_numbers_in_c_are_read_as_they_were(value):
    text = to_c._number(np.float32(value))
    assert text.endswith("f")
    assert np.float32(text[:-1]) == np.float32(value)
    assert {".", "e"} & {*text}, "C takes no 1f"


def test_a_header_is_written_unchecked_without_a_compiler(tmp_path, monkeypatch, capsys):
    files.save_policy(KINDS["dense"], tmp_path / "policy")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert KINDS["dense"].export(tmp_path / "hopper.h", "c").difference is None
    words = ["export", str(tmp_path / "policy"), "--out", str(tmp_path / "hopper.h"), "--format", "c", "--overwrite"]
    assert main(words) == 0
    assert "Not checked against the policy: there is no C compiler" in capsys.readouterr().out


@needs_compiler
@pytest.mark.parametrize("compiler", ["false", "true"])
def test_a_compiler_that_fails_is_told(compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(UserError, match=f"cannot be checked with .*/{compiler}: "):
        KINDS["dense"].export(tmp_path / "hopper.h", "c")
    assert not [*tmp_path.iterdir()]


def test_an_export_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    policy, run = KINDS["dense"], to_numpy.run
    policy.export(tmp_path / "hopper.npz", "numpy")
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for wrong in (0.01, np.nan):
        monkeypatch.setattr(to_numpy, "run", lambda content, rows, wrong=wrong: run(content, rows) + np.float32(wrong))
        with pytest.raises(UserError, match=r"up to .* from the policy on 1,000 observations.*: nothing was written"):
            policy.export(tmp_path / "hopper.npz", "numpy", overwrite=True)
        with pytest.raises(UserError, match="nothing was written"):
            policy.export(tmp_path / "other.npz", "numpy")
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_check_allows_what_rounding_explains():
    """Where a layer adds ten thousand that the next takes away again, the policy itself has only four digits."""
    one, observations = np.ones((1, 1), np.float32), random_observations(1)
    far = Layer("hidden_1", one, np.full(1, 1e4, np.float32), "relu", appends=False)
    back = Layer("head", one, np.full(1, -1e4, np.float32), "tanh", appends=False)
    exact = Layer("head", one, np.zeros(1, np.float32), "tanh", appends=False)
    for layers, allowed in (((far, back), 2e-3), ((exact,), 5e-5)):
        network = Network(layers, np.ones(1, np.float32), np.zeros(1, np.float32))
        actions = act(network, observations)
        assert checked_difference(network, observations, actions + np.float32(allowed)) == pytest.approx(allowed, 0.01)
        with pytest.raises(UserError, match="where rounding allows"):
            checked_difference(network, observations, actions + np.float32(10 * allowed))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    policy = random_policy()
    policy.arrays["actor"]["head"]["bias"][0] = np.inf
    for format, kind in FORMATS.items():
        with pytest.raises(UserError, match="weights that are not finite"):
            policy.export(tmp_path / f"policy{kind.ending}", format)
    assert not [*tmp_path.iterdir()]


@pytest.fixture
def run_folder(tmp_path):
    for seed in (0, 1):
        files.save_policy(KINDS["dense"], tmp_path / "run" / "policy" / f"seed_{seed}")
    (tmp_path / "exists.npz").write_bytes(b"")
    (tmp_path / "hopper_policy.py").write_bytes(b"")
    (tmp_path / "folder.h").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run --out new.onnx", "holds 2 policies (seed_0, seed_1): give the folder of one"),
        ("exists.npz --out new.onnx", "exists.npz is a file, not a folder"),
        ("nowhere --out new.onnx", "nowhere does not exist"),
        (
            "run/policy/seed_0 --out new.onnx --format onyx",
            "unknown format 'onyx': did you mean 'onnx'? allowed: onnx,",
        ),
        ("run/policy/seed_0 --out new.onnx --format c", "a file in format c must end in .h, not '.onnx': "),
        ("run/policy/seed_0 --out new", "new must end in one of .onnx, .stablehlo, .npz, .h, or name a format"),
        ("run/policy/seed_0 --out exists.npz --format numpy", "exists.npz exists: choose another name, or --overwrite"),
        ("run/policy/seed_0 --out hopper.npz --format numpy", "hopper_policy.py exists: choose another name"),
        ("run/policy/seed_0 --out folder.h --format c --overwrite", "folder.h: it is a folder"),
        ("run/policy/seed_0 --out nowhere/new.h --format c", "cannot write "),
        (f"run/policy/seed_0 --out {'n' * 300}.h --format c", "File name too long"),
        ("run/policy/seed_0 --format c", "--out"),
    ],
)
def test_wrong_input_is_told_in_one_line(words, message, run_folder, monkeypatch, capsys):
    monkeypatch.chdir(run_folder)
    before = {*run_folder.rglob("*")}
    assert main(["export", *words.split()]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert {*run_folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("package", "format"), [("onnx", "onnx"), ("onnxruntime", "onnx"), ("flatbuffers", "stablehlo")]
)
def test_a_missing_package_is_told_with_what_installs_it(package, format, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package {package}: pip install 'xinet_jax\[{format}\]'"):
        KINDS["dense"].export(tmp_path / f"policy.{format}", format)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "hopper.onnx"
    file.write_bytes(b"old")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(UserError, match=r"cannot write .*hopper\.onnx: No space left on device"):
        KINDS["dense"].export(file, overwrite=True)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_the_command_writes_and_says_how_far_it_is(run_folder, capsys):
    folder, out = run_folder / "run" / "policy" / "seed_0", run_folder / "exists.npz"
    assert main(["export", str(folder), "--out", str(out), "--format", "numpy", "--overwrite"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{out}: {out.stat().st_size:,} bytes"
    assert said[1].startswith(f"{run_folder / 'exists_policy.py'}: ")
    assert said[2] == "Checked on 1,000 observations: actions differ by at most 0"
    actions = to_numpy.run(out.read_bytes(), OBSERVATIONS)
    np.testing.assert_allclose(actions, KINDS["dense"](OBSERVATIONS), atol=1e-6)
