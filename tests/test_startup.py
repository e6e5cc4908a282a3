"""What a process loads and needs before anything is computed. In processes of their own: this one has loaded it all."""

import ast
import inspect
import json
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from report.runs import write_run

import xinet_jax
from xinet_jax import cores
from xinet_jax.config import names
from xinet_jax.networks import complexity
from xinet_jax.pruning import estimators
from xinet_jax.pruning import schedules as pruners
from xinet_jax.tasks import catalogue
from xinet_jax.tasks.names import ENGINES
from xinet_jax.tasks.registry import describe_task, load_task, task_names

HEAVY = ("jax", "jaxlib", "flax", "optax", "orbax", "distrax", "mujoco", "gymnasium", "matplotlib", "brax")
HEAVY += ("pandas", "tensorboard", "wandb", "onnx")


def python(code, *arguments, **environment):
    """Runs code in a fresh process."""
    kept = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=kept | environment)


def loaded_by(code, *arguments):
    """Returns the heavy modules that code loads, and the process."""
    done = python(f"{code}\nimport sys\nprint([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)", *arguments)
    return ast.literal_eval(done.stderr.splitlines()[-1]), done


@pytest.mark.parametrize(
    "code",
    [
        "import xinet_jax",
        "from xinet_jax import make_config, load_config, register_task, UserError, Config",
        "import xinet_jax; xinet_jax.make_config('Hopper-v5', nu=3)",
        "import xinet_jax; xinet_jax.make_config('Ant-v5', 'paper', 'magnitude', task_options=('main_body=2',))",
        "import xinet_jax; xinet_jax.make_config('brax/ant', brax_backend='spring')",
    ],
)
def test_a_configuration_is_made_before_anything_heavy_is_loaded(code):
    modules, done = loaded_by(code)
    assert done.returncode == 0, done.stderr
    assert modules == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("", 2),
        ("--help", 0),
        ("trian", 2),
        *[
            (f"{command} --help", 0)
            for command in ("train", "evaluate", "inspect", "render", "export", "report", "tasks", "runs", "log")
        ],
        ("train --stepps 3", 2),
        ("train --task HalfCheeta-v5", 2),
        ("train --preset quickly", 2),
        ("train --agent zinet", 2),
        ("train --engine nativ", 2),
        ("train --steps many", 2),
        ("train --steps 0", 2),
        ("train --nu 3 --nu 4", 2),
        ("train --task Hopper-v5 --task-options healthy_rewrad=2", 2),
        ("train --task Hopper-v5 --task-options healthy_reward=high", 2),
        ("train --resume nowhere", 2),
        ("train --from nowhere", 2),
        ("evaluate --episode 3", 2),
        ("evaluate nowhere --episodes 0", 2),
        ("inspect", 2),
        ("render --width wide", 2),
        ("export", 2),
        ("export nowhere --out policy.onnx --format onyx", 2),
        ("export nowhere --out policy.onnx --format c", 2),
        ("report", 2),
        ("report nowhere", 2),
        ("tasks", 0),
        ("tasks Ant-v5", 0),
        ("tasks --json", 0),
        ("tasks Ant-v6", 2),
        ("tasks --import nowhere.py", 2),
        ("runs tests", 0),
        ("runs nowhere", 2),
        ("log nowhere --to tensorboard", 2),
        ("train --log tensorbord", 2),
    ],
)
def test_simple_commands_load_nothing_heavy(arguments, code):
    call = "import sys\nfrom xinet_jax.cli import main\ntry:\n    code = main(sys.argv[1:])\n"
    call += "except SystemExit as stop:\n    code = stop.code\nprint('code', code or 0)"
    modules, done = loaded_by(call, *arguments.split())
    assert done.stdout.splitlines()[-1] == f"code {code}", done.stderr
    assert modules == []


def test_a_report_is_written_without_anything_heavy(tmp_path):
    call = "import sys\nfrom xinet_jax.cli import main\nassert main(sys.argv[1:]) == 0"
    run, out = str(write_run(tmp_path / "run")), str(tmp_path / "report.html")
    modules, done = loaded_by(call, "report", run, "--out", out)
    assert done.stdout == f"Report: {out}\n"
    assert modules == []


def test_python_m_is_the_command():
    run = lambda *words: subprocess.run([*words, "tasks", "--json"], capture_output=True, check=True).stdout  # noqa: E731
    assert run(sys.executable, "-m", "xinet_jax") == run(Path(sys.executable).parent / "xinet")


def test_the_public_names_are_those_of_their_modules():
    assert list(xinet_jax._MODULES) == xinet_jax.__all__
    for name, module in xinet_jax._MODULES.items():
        assert getattr(xinet_jax, name) is getattr(sys.modules[module], name)
    assert set(xinet_jax.__all__) <= set(dir(xinet_jax))
    # What type checkers read.
    tree = ast.parse(Path(xinet_jax.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert {alias.name: node.module for node in block.body for alias in node.names} == xinet_jax._MODULES
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        xinet_jax.trian  # noqa: B018


def test_names_are_those_that_are_implemented():
    assert tuple(pruners.PRUNERS) == names.PRUNERS
    assert (*estimators.ESTIMATORS, "disarm", "fisher") == names.ESTIMATORS
    assert all(isinstance(getattr(complexity.Layer, cost), property) for cost in names.COSTS)
    entries = [*catalogue.BUILT_IN.values(), catalogue.registered("gymnasium/Pendulum-v1")]
    assert {"auto"}.union(*(entry.engines for entry in entries)) == set(ENGINES)


@pytest.mark.parametrize("name", task_names())
def test_the_catalogue_says_what_the_functions_take(name):
    entry = catalogue.BUILT_IN[name]
    function = entry.define.load()
    parameters = [p for p in inspect.signature(function).parameters.values() if p.default is not p.empty]
    assert describe_task(name)["options"] == {p.name: p.default for p in parameters}
    assert list(describe_task(name)["options"]) == [p.name for p in parameters], "in their order"
    hints = typing.get_type_hints(function)
    assert typing.get_type_hints(entry.define) == {p.name: hints[p.name] for p in parameters}


@pytest.mark.parametrize("name", catalogue.GYMNASIUM)
def test_the_catalogue_says_what_the_models_have(name):
    """tests/tasks/test_libraries.py asks the same of other libraries' tasks."""
    task = load_task(name, "native")
    lengths = (task.observation_size, task.predicted_size, task.action_size)
    assert catalogue.GYMNASIUM[name].sizes == (*lengths, task.dt, task.definition.episode_length)


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n", "cpu.max": "max 100000"}, 0.5),
        ("0::/docker/123\n", {"cpu.max": "100000 50000\n"}, 2.0),
        ("4:cpu,cpuacct:/\n", {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "9\n"}, None),
        ("4:cpu,cpuacct:/x\n", {"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ("3:cpuset:/\n1:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "3\n", "cpu/a/cpu.cfs_period_us": "2\n"}, 1.5),
        ("3:memory:/\n", {"memory/cpu.cfs_quota_us": "3\n", "memory/cpu.cfs_period_us": "2\n"}, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
        ("", {"cpu.max": "250000 100000\n"}, None),
    ],
)
def test_the_quota_of_a_container(groups, files, quota, tmp_path):
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        (tmp_path / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mount" / name).write_text(text)
    assert cores.cpu_quota(tmp_path / "groups", tmp_path / "mount") == quota
    assert cores.cpu_quota(tmp_path / "none", tmp_path / "mount") is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 6), (2.5, 3), (0.2, 1), (6.0, 6), (64.0, 6)])
def test_cores_are_as_many_as_the_quota_allows(quota, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert cores.available_cores() == expected


def test_flags_for_xla_are_kept_from_child_processes():
    """XLA goes by the flags all the same, as it does where the user sets them."""
    code = """
import json, os, subprocess, sys
import jax
if sys.argv[1] == "claim":
    from xinet_jax.training.devices import claim_cores
    claim_cores(2, 2)
from jax._src import compiler
devices = len(jax.devices())
options = compiler.get_compile_options(1, 1).SerializeAsString().hex()
child = subprocess.run([sys.executable, "-c", "import os; print(os.environ.get('XLA_FLAGS'))"], capture_output=True)
print(json.dumps([devices, options, child.stdout.decode().strip(), os.environ.get("XLA_FLAGS")]))
"""
    single, other = "--xla_cpu_multi_thread_eigen=false", "--xla_cpu_enable_fast_math=true"
    run = lambda how, **flags: json.loads(python(code, how, **flags).stdout)  # noqa: E731
    devices, options, *flags = run("claim")
    assert devices == 2
    assert flags == ["None", None]
    assert options == run("none", XLA_FLAGS=single)[1]
    assert options != run("none")[1]
    _, options, *flags = run("claim", XLA_FLAGS=other)
    assert flags == [other, other]
    assert options == run("none", XLA_FLAGS=f"{other} {single}")[1]


def test_commands_say_what_does_not_start(tmp_path):
    call = "import sys\nfrom xinet_jax.cli import main\nsys.exit(main(sys.argv[1:]))"
    examples = Path(__file__).parent.parent / "examples"
    spinner = ("--import", str(examples / "spinner.py"))
    message = "xinet: JAX does not start on platform nonsense (JAX_PLATFORMS): "
    for command in (("evaluate", "nowhere"), ("render", "nowhere"), ("tasks", *spinner)):
        done = python(call, *command, JAX_PLATFORMS="nonsense")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1
    done = python(call, "inspect", "nowhere", JAX_ENABLE_X64="maybe")
    assert done.returncode == 2
    assert (
        done.stderr
        == "xinet: cannot load jax: ValueError: invalid truth value 'maybe' for environment 'JAX_ENABLE_X64'\n"
    )


@pytest.mark.parametrize(
    ("environment", "seeds", "message"),
    [
        ({"JAX_PLATFORMS": "nonsense"}, 1, "JAX does not start on platform nonsense (JAX_PLATFORMS): Unable to"),
        ({"JAX_PLATFORMS": "nonsense"}, 2, "JAX does not start on platform nonsense (JAX_PLATFORMS): Unable to"),
        ({"XLA_FLAGS": "nonsense"}, 1, "XLA_FLAGS must be flags, each with -- before it, or a file of them, not nons"),
        ({"XLA_FLAGS": "nonsense"}, 2, "XLA_FLAGS must be flags, each with -- before it, or a file of them, not nons"),
        ({"JAX_ENABLE_X64": "maybe"}, 1, "cannot load jax: ValueError: invalid truth value 'maybe'"),
        ({"MUJOCO_GL": "nonsense"}, 1, "cannot load mujoco: RuntimeError: invalid value for environment variable"),
    ],
)
def test_what_does_not_start_is_told_in_one_line(environment, seeds, message, tmp_path):
    call = "import sys\nfrom xinet_jax.cli import main\nsys.exit(main(sys.argv[1:]))"
    out, several = tmp_path / "run", ("--seeds", str(seeds), "--devices", str(seeds))
    done = python(call, "train", *several, "--out", str(out), **environment)
    assert done.returncode == 2
    assert done.stderr.startswith(f"xinet: {message}")
    assert done.stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HOME": "", "XDG_CACHE_HOME": "/dev/null"}, "cannot write to /dev/null/xinet_jax: Not a directory"),
        ({"JAX_COMPILATION_CACHE_DIR": "/dev/null"}, "cannot write to /dev/null: File exists"),
        ({"JAX_COMPILATION_CACHE_DIR": "/proc"}, "cannot write to /proc: "),
        ({}, "this user has no home folder"),
    ],
)
def test_a_cache_that_cannot_be_written_is_told_in_one_line(environment, message):
    code = "import os, pwd\nfrom xinet_jax.command_line.start import keep_compiled_programs\n"
    if not environment:  # a user whose number has no name
        code += "del os.environ['HOME']\nos.environ.pop('XDG_CACHE_HOME', None)\npwd.getpwuid = {}.__getitem__\n"
    code += "keep_compiled_programs()\nimport jax\nprint([jax.jit(lambda x: x + k)(1).item() for k in (1, 2)])"
    done = python(code, **environment)
    assert done.stdout == "[2, 3]\n", done.stderr
    assert done.stderr.startswith(f"xinet: compiled programs are not kept: {message}")
    assert done.stderr.count("\n") == 1


def test_a_cache_that_can_be_written_is_written(tmp_path):
    code = "from xinet_jax.command_line.start import keep_compiled_programs\nkeep_compiled_programs()\nimport jax\n"
    done = python(f"{code}print(jax.jit(lambda x: x + 1)(1))", XDG_CACHE_HOME=str(tmp_path))
    assert (done.stdout, done.stderr) == ("2\n", "")
    assert list((tmp_path / "xinet_jax").iterdir())
