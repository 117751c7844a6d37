"""The layout keeps its promises: the core is pure, and each heavy dependency stays in its room."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "realbogus"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Whatever waits, writes or can be unplugged. All else is the core: bytes and arrays in, values out.
SHELL = (
    "stream",
    "publish",
    "subscribing",
    "registry",
    "labels",
    "web",
    "config",
    "telemetry",
    "testing",
    "cli",
    "__main__",
    "archives",
    "tables",
    "rescoring",
)
CONFINED = {
    "confluent_kafka": {"stream/kafka/", "publish/kafka_topic.py"},
    "fastavro": {"packets/"},
    "lxml": {"voevent/", "publish/vtp"},
    "sklearn": {"forest.py", "training/"},
    "matplotlib": {"pictures.py"},
    "aiohttp": {"publish/http/"},
    "jinja2": {"web/"},
    "PIL": {"thumbnails.py", "subscribing/cutouts.py"},
}


def imports(module: Path) -> set[str]:
    """Dotted names that a module imports, at its top or within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def place(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def is_shell(dotted: str) -> bool:
    parts = dotted.split(".")
    return parts[0] == "realbogus" and len(parts) > 1 and parts[1] in SHELL


def test_there_are_modules_to_read():
    assert len(MODULES) > 20


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_the_core_imports_nothing_from_the_shell(module):
    room = place(module).split("/")[0].removesuffix(".py")
    if room in SHELL:
        return
    assert not {name for name in imports(module) if is_shell(name)}


@pytest.mark.parametrize("package", CONFINED)
def test_heavy_dependencies_stay_in_their_room(package):
    users = {place(module) for module in MODULES if any(name.split(".")[0] == package for name in imports(module))}
    assert users
    assert not {user for user in users if not user.startswith(tuple(CONFINED[package]))}


def test_the_core_reads_no_clock_and_no_random_generator_of_its_own():
    forbidden = {"time", "random", "os", "os.environ", "datetime.datetime.now", "secrets", "uuid"}
    core = [m for m in MODULES if place(m).split("/")[0].removesuffix(".py") not in SHELL]
    offenders = {place(m): imports(m) & forbidden for m in core if imports(m) & forbidden}
    assert not offenders


def test_no_pickle_is_loaded_but_in_a_process_of_its_own():
    picklers = {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}
    assert [place(m) for m in MODULES if imports(m) & picklers] == ["training/foreign.py"]
    assert not [place(m) for m in MODULES if any("training.foreign" in name for name in imports(m))]


def test_every_declared_dependency_is_used():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    declared = {line.split(">")[0].split("=")[0].strip() for line in project["dependencies"]}
    names = {"scikit-learn": "sklearn", "pyerfa": "erfa", "pillow": "PIL"}
    used = {name.split(".")[0] for module in MODULES for name in imports(module)}
    assert {names.get(name, name.replace("-", "_")) for name in declared} <= used
