"""Files from someone else: whatever is in them, they load or end in one clear line, and nothing else happens.

About 1,800 inputs: random damage to every file, and descriptions that are well-formed and false.
"""

import asyncio
import dataclasses
import functools
import json
import random
import shutil
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from helpers import SMALLEST, tiny_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xinet_jax
from xinet_jax.compat.orbax import quiet_loops
from xinet_jax.config import field_names, load_config
from xinet_jax.errors import UserError
from xinet_jax.networks.complexity import LayerCount
from xinet_jax.policy import files
from xinet_jax.policy.structure import load_structure
from xinet_jax.training import checkpoints, members, resume
from xinet_jax.training.snapshot import snapshot_shapes

fuzz = functools.partial(settings, deadline=None, database=None, suppress_health_check=list(HealthCheck))
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 1, 2**31, 2**63, 10**400, 1e308])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run with checkpoints. Its Orbax files, and no others, lie in the folder."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    small = {"checkpoint_every": 20, "eval_episodes": 1, "final_episodes": 1, "nu": 20_000.0, "prune_ramp": 0}
    xinet_jax.train(tiny_config(out=str(folder), **small, **SMALLEST), progress=False)
    return folder


@pytest.fixture(autouse=True)
def nothing_else_happens(tmp_path, capfd, monkeypatch):
    """Nothing is printed, nothing is written elsewhere, and no more memory is taken than a few files need."""
    quiet_loops()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("/proc/self/clear_refs").write_text("5")  # the most memory that was ever taken, from now on
    before = most_memory()
    yield
    asyncio.set_event_loop_policy(None)
    assert most_memory() - before < 600_000, "kilobytes"
    assert not any((tmp_path / "elsewhere").iterdir())
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    assert "Error" not in said


def most_memory():
    """Returns the most memory that this process has had at a time [kB]."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def loads(load, *arguments):
    """Returns what is loaded, or None if it is refused in one line; fails on anything else, and if it takes long."""
    before = time.monotonic()
    try:
        return load(*arguments)
    except UserError as error:
        refused = str(error)
    finally:
        assert time.monotonic() - before < 20
    assert "\n" not in refused
    assert len(refused) < 1000
    return None


def damage(content, chance):
    """Returns bytes with something about them changed."""
    content, how = bytearray(content), chance.choice(["flip", "flip", "set", "cut", "insert", "many", "empty"])
    place = chance.randrange(len(content))
    if how == "cut":
        return bytes(content[:place])
    if how == "empty":
        return b""
    if how == "insert":
        content[place:place] = chance.randbytes(chance.randint(1, 9))
    for _ in range({"flip": 1, "set": 1, "many": 10}.get(how, 0)):
        place = chance.randrange(len(content))
        content[place] = chance.randrange(256) if how == "set" else content[place] ^ (1 << chance.randrange(8))
    return bytes(content)


def damaged_copies(folder, aside, times, seed):
    """Yields a copy of a folder again and again, each with one file damaged or gone, and the file's name."""
    chance = random.Random(seed)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    shutil.copytree(folder, aside)
    for _ in range(times):
        file = chance.choice(files)
        content = (folder / file).read_bytes()
        if not content or chance.random() < 0.05:
            (aside / file).unlink()
        else:
            (aside / file).write_bytes(damage(content, chance))
        yield aside, file
        assert {path.relative_to(aside) for path in aside.rglob("*") if path.is_file()} <= set(files), "it wrote a file"
        (aside / file).write_bytes(content)


def same(ours, theirs):
    return jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))


def test_damaged_policies(run, tmp_path):
    whole, refused = files.load_policy(run), 0
    for folder, file in damaged_copies(run / "policy" / "seed_0", tmp_path / "policy", 120, seed=0):
        loaded = loads(files.load_policy, folder)
        refused += loaded is None
        assert loaded is None or file.name == "policy.json" or same(loaded.arrays, whole.arrays), "a wrong weight"
    assert 20 < refused < 120


def test_damaged_checkpoints(run, tmp_path):
    path = checkpoints.candidates(run / "checkpoints" / "all")[0]
    config = dataclasses.replace(load_config(run / "config.yaml"), resume=str(run))
    whole = resume.find_start(config, members.identities(config), run, print)
    expected = snapshot_shapes(whole.setup, whole.description.filled, whole.description.observations)

    def load(folder):
        return checkpoints.read_state(folder, checkpoints.read_header(folder), expected).agent

    refused = 0
    for folder, _ in damaged_copies(path, tmp_path / path.name, 60, seed=1):
        loaded = loads(load, folder)
        refused += loaded is None
        assert loaded is None or same(loaded, whole.state.agent)
    assert 6 < refused < 60


def test_damaged_configurations(run, tmp_path):
    chance, content, refused = random.Random(2), (run / "config.yaml").read_bytes(), 0
    for _ in range(500):
        (tmp_path / "config.yaml").write_bytes(damage(content, chance))
        refused += loads(load_config, tmp_path / "config.yaml") is None
    assert 100 < refused < 500


@pytest.mark.parametrize("section", [None, "sac", "networks", "pruning"])
def test_configurations_with_any_values(tmp_path, section):
    names = [name for name, home in field_names().items() if home == section]
    fields = st.dictionaries(st.sampled_from(names), ANYTHING, min_size=1, max_size=3)

    @fuzz(max_examples=150)
    @given(fields)
    def check(flat):
        nested = {section: flat} if section else flat
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(nested))
        loads(load_config, tmp_path / "config.yaml")

    check()


def test_configurations_of_any_text(tmp_path):
    @fuzz(max_examples=200)
    @given(st.text(alphabet="&*!a1:-{}[],'\"\n \t|>%@#?~.e+", max_size=60))
    def check(text):
        (tmp_path / "config.yaml").write_text(text)
        loads(load_config, tmp_path / "config.yaml")

    check()
    anchors = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(12))
    (tmp_path / "config.yaml").write_text(anchors)  # 9 to the 12th values, if anybody counted them
    assert loads(load_config, tmp_path / "config.yaml") is None
    for name in ("task", "steps", "nu"):
        (tmp_path / "config.yaml").write_text(
            f"{name}:\n" + "".join(f"- {line.split(': ')[1]}\n" for line in anchors.splitlines())
        )
        assert loads(load_config, tmp_path / "config.yaml") is None
    (tmp_path / "config.yaml").write_text("task: !!python/object/apply:os.mkdir [executed]")
    assert loads(load_config, tmp_path / "config.yaml") is None


def test_policies_that_say_anything(run, tmp_path):
    shutil.copytree(run / "policy" / "seed_0", tmp_path / "policy")
    file = tmp_path / "policy" / "policy.json"
    honest, whole = json.loads(file.read_text()), load_structure(tmp_path / "policy")

    @fuzz(max_examples=200)
    @given(st.dictionaries(st.sampled_from(list(honest)), ANYTHING, min_size=1, max_size=2))
    def check(change):
        file.write_text(json.dumps(honest | change))
        loads(files.load_policy, tmp_path / "policy")
        structure = loads(load_structure, tmp_path / "policy")
        assert structure is None or "layers" not in change or structure.layers == whole.layers

    check()


def test_layers_that_say_anything(run, tmp_path):
    """Every number of a layer follows from others: one alone cannot be changed."""
    shutil.copytree(run / "policy" / "seed_0", tmp_path / "policy")
    file = tmp_path / "policy" / "policy.json"
    honest, whole = json.loads(file.read_text()), load_structure(tmp_path / "policy")
    places = st.tuples(st.integers(0, len(honest["layers"]) - 1), st.sampled_from(LayerCount._fields))

    @fuzz(max_examples=300)
    @given(places, ANYTHING | st.integers(0, 10))
    def check(place, value):
        index, field = place
        rows = [row | ({field: value} if k == index else {}) for k, row in enumerate(honest["layers"])]
        file.write_text(json.dumps(honest | {"layers": rows}))
        structure = loads(load_structure, tmp_path / "policy")
        assert structure is None or structure == whole

    check()


def test_checkpoints_that_say_anything(run, tmp_path):
    """The description's own checksum is right: someone made it so."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    config = dataclasses.replace(load_config(folder / "config.yaml"), resume=str(folder))
    path = checkpoints.candidates(folder / "checkpoints" / "all")[0]
    honest = checkpoints.read_header(path)
    names = [name for name in honest if name not in ("crc32", "format")]
    widths = st.dictionaries(st.sampled_from(list(honest["widths"])), ANYTHING, min_size=1, max_size=2)

    @fuzz(max_examples=150)
    @given(st.dictionaries(st.sampled_from(names), ANYTHING, min_size=1, max_size=2), widths | st.none())
    def check(change, sizes):
        header = honest | ({"widths": honest["widths"] | sizes} if sizes else change)
        header["crc32"] = checkpoints.checksum(header)
        (path / "about" / "metadata").write_text(json.dumps(header))
        loads(resume.read_start, config, members.identities(config), path)

    check()
