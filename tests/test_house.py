"""Imports go one way, and a command loads only what it needs."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import adgan_cli

ROOT = Path(adgan_cli.__file__).parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

BASE = {"errors", "config", "atomic", "processes"}
ENGINE = BASE | {"images", "engine"}
PIPELINE = ENGINE | {"results", "pipeline"}
# part -> the parts it may import, wherever in its files the import stands
ALLOWED = {
    "__init__": set(),  # names are resolved when first used
    "__main__": {"cli"},
    "errors": set(),
    "config": {"errors"},
    "atomic": {"errors"},
    "processes": {"errors", "config", "atomic"},
    "images": BASE | {"images"},
    "engine": ENGINE,
    "results": {"errors", "atomic", "results"},
    "evaluation": PIPELINE | {"evaluation"},
    "pipeline": PIPELINE,
    "cli": PIPELINE | {"evaluation", "cli"},
}
MAY_LOAD_TORCH = {"engine", "evaluation", "pipeline"}  # when they are imported, that is
HEAVY = {"torch", "torchvision", "numpy", "PIL", "matplotlib", "sklearn", "jinja2", "safetensors"}


def part_of(module: str) -> str:
    """images/find.py -> images, errors.py -> errors."""
    return module.split("/")[0].removesuffix(".py")


def names_in(node: ast.AST) -> list[str]:
    """What an import statement imports, with its dots; nothing for other nodes."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are written out in full"
        if node.module == "adgan_cli":
            return [f"adgan_cli.{alias.name}" for alias in node.names]
        return [node.module or ""]
    return []


def imports(tree: ast.AST) -> Iterator[str]:
    """Every import of a file, also those inside functions."""
    for node in ast.walk(tree):
        yield from names_in(node)


def imports_when_loaded(tree: ast.AST) -> Iterator[str]:
    """The imports that run when the file is imported: not in functions, not for type checkers."""
    for node in ast.iter_child_nodes(tree):
        checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not checking and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from names_in(node)
            yield from imports_when_loaded(node)


def own_part(name: str) -> str | None:
    """adgan_cli.images.find -> images; None for other people's modules and for __version__."""
    top, _, rest = name.partition(".")
    return rest.split(".")[0] if top == "adgan_cli" and not rest.startswith("__") else None


def parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def test_the_walk_sees_imports_where_they_hide() -> None:
    source = """
if TYPE_CHECKING:
    from adgan_cli.engine import search
try:
    import torch.nn
finally:
    pass
class A:
    from adgan_cli import pipeline, __version__
    def f(self):
        import numpy
"""
    tree = ast.parse(source)
    late = ["torch.nn", "adgan_cli.pipeline", "adgan_cli.__version__"]
    assert list(imports_when_loaded(tree)) == late
    assert {"adgan_cli.engine", "numpy", *late} == set(imports(tree))
    assert [own_part(name) for name in late] == [None, "pipeline", None]


def test_every_part_of_the_house_has_its_rule() -> None:
    assert {part_of(module) for module in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    used = {part for name in imports(parsed(module)) if (part := own_part(name))}
    assert used <= ALLOWED[part_of(module)]


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) not in MAY_LOAD_TORCH])
def test_nothing_but_the_engine_and_what_stands_on_it_loads_torch(module: str) -> None:
    for name in imports_when_loaded(parsed(module)):
        assert name.split(".")[0] not in ("torch", "torchvision")
        assert own_part(name) not in MAY_LOAD_TORCH


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) not in ("cli", "__main__")])
def test_only_the_command_line_talks(module: str) -> None:
    tree = parsed(module)
    assert not {"typer", "rich"} & {name.split(".")[0] for name in imports(tree)}
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert "print" not in [func.id for func in calls if isinstance(func, ast.Name)]


@pytest.mark.parametrize("module", MODULES)
def test_click_is_left_to_typer(module: str) -> None:
    for name in imports(parsed(module)):
        assert name.split(".")[0] != "click" and "_click" not in name


def loaded_by(*args: str) -> set[str]:
    """The top-level modules in memory after a command ran in a fresh process."""
    code = """
import json, sys
from adgan_cli.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    command = [sys.executable, "-c", code, *args]
    ended = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert ended.returncode == 0, ended.stderr
    *told, modules = ended.stderr.splitlines()
    assert ended.stdout or told, "a command that prints nothing proves nothing"
    return {name.split(".")[0] for name in json.loads(modules)}


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["train", "--help"], ["score", "--help"]], ids=" ".join
)
def test_help_answers_without_loading_anything_heavy(args: list[str]) -> None:
    loaded = loaded_by(*args)
    assert "typer" in loaded
    assert not loaded & HEAVY
    assert "click" not in loaded


def test_info_answers_without_torch(tiny_model: Path) -> None:
    loaded = loaded_by("info", str(tiny_model))
    assert "safetensors" in loaded
    assert "torch" not in loaded


def test_a_report_is_drawn_again_without_torch(tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("path,score\na.png,2.5\n", encoding="utf-8")
    loaded = loaded_by("rank", str(tmp_path), "--from", str(scores), "-o", str(tmp_path / "report"))
    assert "jinja2" in loaded
    assert "torch" not in loaded


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import sys, adgan_cli; print(sorted(n for n in sys.modules if 'adgan' in n))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(ast.literal_eval(ended.stdout))
    assert {name for name in loaded if name.startswith("adgan_cli")} == {"adgan_cli"}
