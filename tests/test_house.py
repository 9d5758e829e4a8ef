"""Imports go one way, a command loads only what it needs, and a file can be read on a screen."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import adgan_cli

ROOT = Path(adgan_cli.__file__).parent

BASE = {
    "errors",
    "config",
    "presets",
    "atomic",
    "locks",
    "text",
    "processes",
    "stopping",
    "store",
    "images",
}
FEATURES = BASE | {"engine", "engine/features"}
MODELS = FEATURES | {"engine/models"}
ENGINE = MODELS | {"engine/losses"}
SCORING = ENGINE | {"engine/search", "scoring"}
FITTING = SCORING | {"engine/training", "fitting"}
# room -> the rooms it may import, wherever in its files the import stands
ALLOWED = {
    "__init__": set[str](),  # names are resolved when first used
    "__main__": {"cli"},
    "errors": set[str](),
    "config": {"errors"},
    "presets": {"errors", "config"},
    "atomic": {"errors"},
    "locks": {"errors"},
    "text": set[str](),
    "stopping": set[str](),
    "processes": {"errors", "config", "atomic"},
    "store": {"errors", "config", "atomic"},
    "images": BASE,
    "engine": BASE | {"engine"},
    "engine/features": FEATURES,
    "engine/models": MODELS,
    "engine/losses": MODELS,
    "engine/training": ENGINE | {"engine/training"},
    "engine/search": ENGINE | {"engine/search"},  # training and search do not know each other
    "scoring": SCORING,
    "fitting": FITTING,
    "reports": SCORING | {"reports"},
    "evaluation": FITTING | {"evaluation"},
    "cli": FITTING | {"reports", "evaluation", "cli"},
}
# what draws a report again, and what says how images are read, does without torch
WITHOUT_TORCH = {
    *("__init__", "errors", "config", "presets", "atomic", "locks", "text", "stopping", "store"),
    "processes",
    *("images", "cli"),
    *(
        "scoring/rows",
        "scoring/spreadsheets",
        "scoring/calibration",
        "scoring/confounds",
        "scoring/labels",
    ),
    "evaluation/settings",
    *("engine/models/header", "engine/models/neighbours"),
    *(
        "reports/contact_sheet",
        "reports/copies",
        "reports/explanation",
        "reports/figure",
        "reports/page",
    ),
    *("reports/ranking", "reports/report"),
}

MAX_FILE, MAX_FUNCTION = 350, 50  # lines
MAX_POSITIONAL = 5  # arguments
# words that are not the field's: metrics, objective, generated, cached, valid, index, ... are
BANNED = set(
    "told aim partner found place made known mine fine pace way hear meet said asked course".split()
)
# what summary.json and the page call found: how many images there were
FOUND = {"scoring/rows", "reports/ranking"}
HEAVY = {"torch", "numpy", "PIL", "matplotlib", "sklearn", "jinja2", "safetensors"}


def modules() -> list[str]:
    """engine/search/algorithm1, ... for every file of the package."""
    files = sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))
    return [path.as_posix().removesuffix("/__init__") for path in files]


def room_of(module: str) -> str:
    """The longest name of ALLOWED that the module lies in: images/find -> images."""
    rooms = [room for room in ALLOWED if f"{module}/".startswith(f"{room}/")]
    return max(rooms, key=len, default="")


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


def own_module(name: str) -> str | None:
    """adgan_cli.images.find -> images/find; None for others' modules and for __version__."""
    top, _, rest = name.partition(".")
    return rest.replace(".", "/") if top == "adgan_cli" and not rest.startswith("__") else None


def source(module: str) -> str:
    file = ROOT / f"{module}.py"
    file = file if file.exists() else ROOT / module / "__init__.py"
    return file.read_text(encoding="utf-8")


def parsed(module: str) -> ast.Module:
    return ast.parse(source(module))


def test_the_walk_sees_imports_where_they_hide():
    code = """
if TYPE_CHECKING:
    from adgan_cli.engine import search
try:
    import torch.nn
finally:
    pass
class A:
    from adgan_cli import scoring, __version__
    def f(self):
        import numpy
"""
    tree = ast.parse(code)
    late = ["torch.nn", "adgan_cli.scoring", "adgan_cli.__version__"]
    assert list(imports_when_loaded(tree)) == late
    assert {"adgan_cli.engine", "numpy", *late} == set(imports(tree))
    assert [own_module(name) for name in late] == [None, "scoring", None]


def test_every_module_is_in_a_room_that_has_a_rule():
    assert {room_of(module) for module in modules() if module != "__init__"} <= set(ALLOWED)
    assert room_of("engine/search/algorithm1") == "engine/search"
    assert room_of("engine/device") == "engine"


def test_imports_go_one_way():
    wrong = {
        (module, own)
        for module in modules()
        for name in imports(parsed(module))
        if (own := own_module(name)) and room_of(own) not in ALLOWED[room_of(module)]
    }
    assert not wrong


def test_what_must_answer_at_once_loads_no_torch():
    light = [m for m in modules() if any(f"{m}/".startswith(f"{w}/") for w in WITHOUT_TORCH)]
    wrong = {
        (module, name)
        for module in light
        for name in imports_when_loaded(parsed(module))
        if name.split(".")[0] == "torch" or ((own := own_module(name)) and own not in light)
    }
    assert not wrong


def test_only_the_command_line_talks():
    for module in (m for m in modules() if room_of(m) not in ("cli", "__main__")):
        tree = parsed(module)
        assert not {"typer", "rich"} & {name.split(".")[0] for name in imports(tree)}, module
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert "print" not in [func.id for func in calls if isinstance(func, ast.Name)], module


def test_click_is_left_to_typer():
    for module in modules():
        for name in imports(parsed(module)):
            assert name.split(".")[0] != "click" and "_click" not in name, module


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def defined_names(tree: ast.AST) -> Iterator[str]:
    """Every name that a file gives: to variables, attributes, parameters, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def words_of(name: str) -> set[str]:
    """_MAX_Images, onImage -> {max, images}, {on, image}."""
    return {word.lower() for word in re.findall("[A-Z]*[a-z]+|[A-Z]+", name)}


def test_no_file_is_too_long_to_keep_in_mind():
    lengths = {module: source(module).count("\n") for module in modules()}
    assert not {module: lines for module, lines in lengths.items() if lines > MAX_FILE}


def test_a_function_fits_on_a_screen_and_takes_few_arguments():
    wrong = []
    for module in modules():
        for function in functions(module):
            arguments = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
            lines = (function.end_lineno or 0) - function.body[0].lineno + 1
            if lines > MAX_FUNCTION or len({*arguments} - {"self", "cls"}) > MAX_POSITIONAL:
                wrong.append((module, function.name, lines, len(arguments)))
    assert not wrong


def test_names_are_words_of_the_field():
    assert words_of("_MAX_STEPS") == {"max", "steps"} and words_of("MadeBy") == {"made", "by"}
    wrong = {
        (module, name)
        for module in modules()
        for name in defined_names(parsed(module))
        if words_of(name) & (BANNED - {"found"} if module in FOUND else BANNED)
    }
    assert not wrong


def test_two_types_never_share_a_name():
    trees = [parsed(module) for module in modules()]
    classes = [node.name for t in trees for node in ast.walk(t) if isinstance(node, ast.ClassDef)]
    assert len(classes) == len(set(classes))


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
    *messages, modules = ended.stderr.splitlines()
    assert ended.stdout or messages, "a command that prints nothing proves nothing"
    return {name.split(".")[0] for name in json.loads(modules)}


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["train", "--help"], ["score", "--help"]], ids=" ".join
)
def test_help_answers_without_loading_anything_heavy(args):
    loaded = loaded_by(*args)
    assert "typer" in loaded
    assert not loaded & HEAVY
    assert "click" not in loaded


def test_info_answers_without_torch(tiny_model):
    loaded = loaded_by("info", str(tiny_model))
    assert "safetensors" in loaded
    assert "torch" not in loaded


def test_a_report_is_drawn_again_without_torch(tmp_path):
    scores = tmp_path / "scores.csv"
    scores.write_text("path,score\na.png,2.5\n", encoding="utf-8")
    loaded = loaded_by("rank", str(tmp_path), "--from", str(scores), "-o", str(tmp_path / "report"))
    assert "jinja2" in loaded
    assert "torch" not in loaded


def test_importing_the_package_loads_nothing_of_it():
    code = "import sys, adgan_cli; print(sorted(n for n in sys.modules if 'adgan' in n))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(ast.literal_eval(ended.stdout))
    assert {name for name in loaded if name.startswith("adgan_cli")} == {"adgan_cli"}


def test_to_list_the_commands_none_of_them_is_loaded():
    code = (
        "import sys; from adgan_cli.__main__ import main\ntry: main()\nfinally: print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert "rank" in ended.stdout
    modules = ended.stdout.split("\n")[-2].split()
    assert "adgan_cli.cli.console" in modules
    assert not {f"adgan_cli.cli.{name}" for name in ("train", "rank", "options")} & {*modules}
