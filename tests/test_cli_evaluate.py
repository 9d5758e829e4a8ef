"""adgan evaluate: a table, a figure, everything to recompute it, and one line for every mistake."""

import json
from pathlib import Path

import pytest
from commands import adgan, refused
from conftest import draw_disc
from test_house import loaded_by

TINY = (
    "--size 16 --width 4 --latent-dim 4 --iters 2 --encoder-iters 2 --k 1 --device cpu "
    "--precision fp32 --transform-iters 2"
).split()
CHEAP = ["--methods", "pca,mean-image"]


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """ROOT/{train,test}/{disc,square}, twelve to train and eight to test of each."""
    root = tmp_path / "shapes"
    for split, start, count in (("train", 0, 12), ("test", 100, 8)):
        for shape in ("disc", "square"):
            (root / split / shape).mkdir(parents=True)
            for index in range(start, start + count):
                draw_disc(root / split / shape / f"{index}.png", index, shape=shape)
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "evaluation"


def test_a_labelled_folder_gives_a_table_a_figure_and_scores(shapes, out):
    ended = adgan("evaluate", "--dataset", shapes, "--normal-class", "disc", *TINY, "-o", out)
    header, *rows = ended.stdout.splitlines()
    assert header.split() == ["method", "disc"]
    assert [row.split()[0] for row in rows][:2] == ["adgan", "adgan-1"]
    assert {path.name for path in out.iterdir()} == {
        "results.csv", "results.json", "table.md", "roc.png", "scores", "models",
    }  # fmt: skip
    record = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert len(record["results"]) == len(rows) == len(list((out / "scores").rglob("*.csv")))
    train = record["settings"]["gan"]["train"]
    assert train["iters"] == 2
    assert (train["objective"], train["encoder_iters"]) == ("wgan-gp", 0)  # not train's defaults
    assert "disc  pca: AUC " in ended.stderr


def test_a_second_call_only_draws(shapes, out):
    args = ["evaluate", "--dataset", shapes, "--normal-class", "0", *TINY, "-o", out]
    first = adgan(*args)
    times = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.parent.name != out.name}
    assert adgan(*args).stdout == first.stdout
    assert times == {p: p.stat().st_mtime_ns for p in times}


def test_all_classes_have_a_mean(shapes, out):
    ended = adgan("evaluate", "--dataset", shapes, "--normal-class", "all", *CHEAP, "-o", out)
    assert ended.stdout.splitlines()[0].split() == ["method", "disc", "square", "mean"]


def test_several_classes_are_named_with_commas(shapes, out):
    (shapes / "train" / "square").rename(shapes / "train" / "a, b")
    (shapes / "test" / "square").rename(shapes / "test" / "a, b")
    for given, named in (("disc,0", "a, b  disc"), ("a, b", "a, b")):
        ended = adgan("evaluate", "--dataset", shapes, "--normal-class", given, *CHEAP, "-o", out)
        header = ended.stdout.splitlines()[0]
        assert [name for name in ("a, b", "disc") if name in header] == named.split("  ")


def test_two_folders_are_enough(shapes, out):
    folders = ["--normal", shapes / "train/disc", "--anomalous", shapes / "test/square"]
    ended = adgan("evaluate", *folders, *CHEAP, "-o", out)
    assert ended.stdout.splitlines()[0].split() == ["method", "normal"]


def test_a_trained_model_can_be_used_instead(shapes, out, tmp_path):
    model = tmp_path / "model"
    adgan("train", shapes / "train/disc", "-o", model, "--size", "16", "--width", "4",
          "--latent-dim", "8", "--iters", "2", "-b", "4", "--features", "none",
          "--device", "cpu")  # fmt: skip
    args = ["evaluate", "--dataset", shapes, "--normal-class", "disc", "-m", model, "--k", "1"]
    # without --size the images are of the model's
    adgan(*args, "--methods", "adgan,discriminator", "-o", out, "--device", "cpu")
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["results"]
    assert [result["settings"]["gan_steps"] for result in results] == [2, 2]
    assert not list(out.rglob("model.safetensors")), "none was trained"


def test_the_digits_that_come_with_scikit_learn_are_always_there(out):
    ended = adgan("evaluate", "--dataset", "digits", "--normal-class", "3", *CHEAP, "-o", out)
    assert "3  pca: AUC 0.9" in ended.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --dataset NAME or FOLDER"),
        (["--dataset", "digits"], "--normal-class: give one of 0, 1, 2"),
        (["--dataset", "digits", "--normal-class", "ten"], "ten"),
        (["--dataset", "mnits", "--normal-class", "0"], "mnist"),
        (["--dataset", "digits", "--normal-class", "0", "--methods", "adgn"], "did you mean adgan"),
        (["--dataset", "digits", "--normal-class", "0", "--n-test", "few"], "--n-test"),
        (["--dataset", "digits", "--normal-class", "0", "--n-test", "1"], "--n-test"),
        (["--dataset", "digits", "--normal-class", "0", "--size", "17"], "--size"),
        (["--normal", "a"], "--anomalous"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_with_the_remedy(words, message, out, monkeypatch):
    assert message in refused("evaluate", *words, "-o", out, code=2)
    assert not out.exists()


def test_a_data_set_that_is_not_there_says_what_to_put_where(out, tmp_path):
    args = ["--dataset", "mnist", "--normal-class", "0", "--data-root", tmp_path / "none"]
    line = refused("evaluate", *args, "-o", out, code=2)
    assert "train-images-idx3-ubyte.gz" in line and "--download" in line


def test_stopping_tells_how_to_go_on(shapes, out, monkeypatch):
    from adgan_cli.evaluation import protocol

    def interrupted(cell: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(protocol, "METHODS", {**protocol.METHODS, "vae": interrupted})
    methods = ["--methods", "pca,vae"]
    ended = adgan(
        "evaluate", "--dataset", shapes, "--normal-class", "disc", *methods, "-o", out, code=130
    )
    assert "stopped after 1 of 2; the same command goes on" in ended.stderr
    assert "pca" in (out / "table.md").read_text(encoding="utf-8")


def test_help_for_evaluate_loads_nothing_heavy():
    loaded = loaded_by("evaluate", "--help")
    assert not loaded & {"torch", "numpy", "sklearn", "matplotlib"}
