"""The examples, run as their readers run them, with tiny budgets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import xinet_jax
from xinet_jax.config import load_config
from xinet_jax.errors import UserError
from xinet_jax.policy.structure import load_structure

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
TINY = "--actor-hidden 8 --critic-hidden 8 --batch-size 16 --random-steps 50 --steps 100 --eval-every 100"
TINY = f"{TINY} --eval-episodes 1 --final-episodes 1".split()


def run(*words, environment=(), **options):
    """Runs a command at the root of the repository. Commands of the environment's Python come first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)} | dict(environment)
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, env=variables, **options)


def xinet(*words):
    return run(sys.executable, "-m", "xinet_jax", *words)


def test_an_environment_of_ones_own(tmp_path):
    name = "gymnasium/Thermostat-v0"
    imported = ("--import", str(EXAMPLES / "thermostat.py"))
    done = xinet("train", *imported, "--task", name, "--agent", "sac", *TINY, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert load_structure(tmp_path / "run" / "policy" / "seed_0").task == name


def test_a_pruner_of_ones_own(tmp_path):
    imported, folder = ("--import", str(EXAMPLES / "outgoing.py")), tmp_path / "run"
    options = "--agent outgoing --final-share 0.5 --prune-start 60 --prune-ramp 20 --prune-every 1"
    options += " --blocks 1 --block-units 5 --pretrain-updates 5"
    done = xinet("train", *imported, *options.split(), *TINY, "--out", str(folder))
    assert done.returncode == 0, done.stderr
    structure = load_structure(folder / "policy" / "seed_0")
    assert structure.agent == "outgoing"
    left = sum(layer.parameters for layer in structure.layers)
    assert left <= 0.5 * sum(layer.parameters_before for layer in structure.layers)
    for name in ("none", "theta", "xinet", ""):
        with pytest.raises(UserError, match="a pruner needs a name"):
            xinet_jax.register_pruner(name, lambda *_: None)
    done = xinet("train", "--agent", "outgoing")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "unknown agent 'outgoing'" in done.stderr


@pytest.mark.slow
def test_a_sweep_on_slurm(tmp_path):
    """The job's script with stand-ins for `srun` and `scontrol`: starts a run, and goes on with one that is there."""
    commands = {"srun": 'exec "$@"', "scontrol": f'echo "$@" >> {tmp_path}/asked'}
    commands["xinet"] = f'exec {sys.executable} -m xinet_jax "$@"'
    (tmp_path / "bin").mkdir()
    for name, text in commands.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    environment = {"PATH": path, "SLURM_JOB_ID": "7"}
    script, folder = str(EXAMPLES / "sweep.sbatch"), tmp_path / "run"
    sizes = "--blocks 1 --block-units 5 --pretrain-updates 5 --prune-start 60 --prune-stop 90 --seeds 1 --nu 100 200"
    done = run("bash", script, str(folder), *sizes.split(), *TINY, environment=environment)
    assert done.returncode == 0, done.stderr
    assert load_config(folder / "config.yaml").pruning.nu == (100.0, 200.0)
    done = run("bash", script, str(folder), environment=environment)
    assert done.returncode == 2  # it is trained to its end
    assert not (tmp_path / "asked").exists()
    (tmp_path / "bin" / "xinet").write_text(f'#!/bin/bash\necho "$@" > {tmp_path}/called\nexit 143\n')
    done = run("bash", script, str(folder), "--seeds", "1", "--import", "mine.py", environment=environment)
    assert done.returncode == 143
    assert (tmp_path / "called").read_text() == f"train --import mine.py --resume {folder}\n"
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    done = run("bash", script, environment=environment)
    assert "usage: sbatch sweep.sbatch RUN" in done.stderr


@pytest.mark.slow
def test_the_notebook(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    folder = next((tmp_path / "runs").iterdir())
    assert (folder / "report.html").exists()
    assert (folder / "pendulum.h").exists()
