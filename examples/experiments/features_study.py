"""Which rule joins the detectors best, chosen without a label of what is reported.

    python examples/experiments/features_study.py fit DATA OUT          # development tasks
    python examples/experiments/features_study.py fit DATA OUT --final  # the others, once
    python examples/experiments/features_study.py table OUT [--final]

DATA holds MNIST/raw, cifar10, rooms and houses as folders of classes, and defects as
drawn_defects.py writes them. `fit` fits every detector to one class at a time and keeps its scores
of validation images, of altered copies of these and of test images in OUT/TASK/DETECTOR.npz; what
is there is not done again. `table` joins them by each rule of joining_rules.py, in seconds.

Training and test images are drawn at random. Choices are made on MNIST 2, 5 and 8, on CIFAR-10
automobile, cat and ship and on four textures; everything else is looked at once.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from joining_rules import RULES, DetectorScores, auc, evidence

from adgan_cli.engine.features.altered import ALTERATIONS, altered_copies
from adgan_cli.engine.features.backbone import load_backbone
from adgan_cli.engine.features.backbone_source import parse_backbone_source
from adgan_cli.engine.features.detector import Detector
from adgan_cli.engine.features.pretrained import PARTS, PretrainedDetector, fit_pretrained
from adgan_cli.engine.features.transform_training import (
    new_transform_state,
    train_transformations,
    trained_detector,
)
from adgan_cli.evaluation.datasets import DataConfig, load_labelled
from adgan_cli.evaluation.datasets.labelled import LabelledDataset, index_of
from adgan_cli.evaluation.items import draw_items
from adgan_cli.fitting.features import QUICK_FITS, split_for_features
from adgan_cli.images.find import find_inputs
from adgan_cli.images.pixels import PixelSet, load_pixels
from adgan_cli.images.read import Preprocessing
from adgan_cli.images.reader import Reader

SEED = 0
LARGE = 256  # pixels at which photographs are read for a pretrained network
MAX_ALTERED = 100  # validation images that altered copies are made of
TEXTURES = {False: ("brick", "gravel", "cracked", "coast"), True: ("grass", "trail", "rocks")}
DIGITS = {False: "258", True: "0134679"}
VEHICLES = {
    False: ("automobile", "cat", "ship"),
    True: ("airplane", "bird", "deer", "dog", "frog", "horse", "truck"),
}
Arrays = dict[str, np.ndarray]
DETECTORS = (
    *("patches", "scattering", "histograms", "components", "local"),
    *("pretrained", "transformations"),
)


def task_names(final: bool) -> tuple[str, ...]:
    """List the tasks that choices are made on, or those that are reported."""
    return (
        *(f"mnist-{digit}" for digit in DIGITS[final]),
        *(f"cifar10-{name}" for name in VEHICLES[final]),
        *(f"defects-{name}" for name in TEXTURES[final]),
        *(("rooms-bedroom", "houses-bedroom") if final else ()),
    )


@dataclass(frozen=True, eq=False)
class StudyTask:
    """One class to learn from and test images of all; `large`: the same images before scaling."""

    train: np.ndarray  # (N, S, S, C) uint8
    test: np.ndarray  # (M, S, S, C) uint8
    classes: np.ndarray  # (M,) of str
    anomalous: np.ndarray  # (M,) bool
    large_train: np.ndarray | None = None
    large_test: np.ndarray | None = None


def load_task(name: str, data: Path, n_test: int) -> StudyTask:
    """Load a task by its name: the data set, a dash, the normal class."""
    dataset, _, normal = name.partition("-")
    if dataset == "mnist":
        config = DataConfig("mnist", root=data)
        labelled = load_labelled(config, Reader(Preprocessing(32, 1)))
    elif dataset == "cifar10":
        labelled = read_folder(data / "cifar10", 32, normal)
    elif dataset == "defects":
        labelled, normal = read_folder(data / "defects" / normal, 64, "good"), "good"
    else:
        return load_rooms(data, n_test, houses=dataset == "houses")
    return drawn_task(labelled, normal, n_test)


def read_folder(folder: Path, size: int, normal: str) -> LabelledDataset:
    """Read ROOT/{train,test}/<class>/ at a size, one class of it to train on."""
    config = DataConfig(str(folder), normal_class=normal, size=size)
    return load_labelled(config, Reader(Preprocessing(size, 3)))


def drawn_task(
    labelled: LabelledDataset, normal: str, n_test: int, large: LabelledDataset | None = None
) -> StudyTask:
    """Take all of a class to train on, and draw the test images."""
    index = index_of(normal, labelled.classes, labelled.name)
    test, _ = draw_items(len(labelled.test.labels), n_test, SEED)
    labels = labelled.test.labels[test]
    return StudyTask(
        labelled.train.of_class(index),
        labelled.test.pixels[test],
        np.array(labelled.classes)[labels],
        labels != index,
        large and large.train.of_class(index),
        large and large.test.pixels[test],
    )


def load_rooms(data: Path, n_test: int, *, houses: bool) -> StudyTask:
    """Read the rooms at 64 pixels and larger; houses: photographs from elsewhere to test on."""
    small, large = (read_folder(data / "rooms", size, "bedroom") for size in (64, LARGE))
    task = drawn_task(small, "bedroom", n_test, large)
    if not houses:
        return task
    listing = find_inputs([data / "houses"])
    tests = [load_pixels(listing, Reader(Preprocessing(size, 3))) for size in (64, LARGE)]
    classes = np.array([name.split("/")[0] for name in tests[0].names])
    anomalous = classes != "bedroom"
    pixels = [images.take(slice(None)) for images in tests]
    return StudyTask(task.train, pixels[0], classes, anomalous, task.large_train, pixels[1])


@dataclass(frozen=True, eq=False)
class Samples:
    """What a detector is fitted to and what it scores, at one size."""

    learned: np.ndarray  # indices of the images that a network may be trained on
    references: np.ndarray
    validation: np.ndarray
    copied: np.ndarray  # those of validation that copies are made of
    altered: dict[str, np.ndarray]
    test: np.ndarray


def samples(task: StudyTask, *, large: bool) -> Samples:
    """Draw as fit_features does; altered copies from more images, and by another seed."""
    count = len(task.train)
    split = split_for_features(PixelSet(task.train, tuple(map(str, range(count))), ()), SEED)
    train, test = task.train, task.test
    if large and task.large_train is not None and task.large_test is not None:
        train, test = task.large_train, task.large_test
    rng = np.random.default_rng(SEED + 1)
    chosen = np.sort(rng.permutation(split.validation)[:MAX_ALTERED])
    return Samples(
        split.learned,
        train[split.references],
        train[split.validation],
        train[chosen],
        altered_copies(train[chosen], rng),
        test,
    )


def fitted(name: str, task: StudyTask, own: Samples, args: argparse.Namespace) -> Detector:
    """Fit a detector by its name, as fit_features does."""
    if name == "transformations":
        _, size, _, channels = task.train.shape
        state = new_transform_state(
            size, channels, n_steps=args.transform_iters, seed=SEED, device=torch.device("cpu")
        )
        for _ in train_transformations(state, task.train, indices=own.learned):
            pass
        return trained_detector(state, own.validation)
    if name == "pretrained":
        side = args.backbone.reading_side(own.references.shape[1])
        return fit_pretrained(args.backbone, own.references, own.validation, side=side, seed=SEED)
    return QUICK_FITS[name](own.references, SEED)


def scored(name: str, task: StudyTask, args: argparse.Namespace) -> dict[str, Arrays]:
    """Fit a detector and score all there is to score: arrays as DetectorScores has them.

    Those of a pretrained network's parts stand beside it, as if they were detectors.
    """
    own = samples(task, large=name == "pretrained")
    started = time.process_time()
    detector = fitted(name, task, own, args)
    seconds = np.array(time.process_time() - started)
    started = time.process_time()
    table = {"test": score_table(detector, own.test)}
    each = np.array((time.process_time() - started) / len(own.test))
    others = {"validation": own.validation, "copied": own.copied}
    others |= {f"altered-{kind}": copies for kind, copies in own.altered.items()}
    table |= {key: score_table(detector, images) for key, images in others.items()}
    names = [name, *(f"{name}-{part}" for part in PARTS)]
    columns = {
        one: {key: rows[:, k] for key, rows in table.items() if k < rows.shape[1]}
        for k, one in enumerate(names)
    }
    times = {"seconds": seconds, "each": each}
    return {one: arrays | times for one, arrays in columns.items() if arrays}


def score_table(detector: Detector, images: np.ndarray) -> np.ndarray:
    """Score images, (N, ...) -> (N, 1), and by the parts of a pretrained detector, (N, 4)."""
    if not isinstance(detector, PretrainedDetector):
        return np.array([[detector.score(image)] for image in images])
    parts = [detector.part_scores(detector.features(image[None]))[0] for image in images]
    z = (np.log(np.maximum(parts, 1e-12)) - detector.scale[:, 0]) / detector.scale[:, 1]
    return np.column_stack([np.exp(z.mean(1)), parts])


def fit(args: argparse.Namespace) -> None:
    """Fit what is not there yet, a task after the other."""
    torch.set_num_threads(1)
    args.backbone = None
    for name in args.tasks or task_names(args.final):
        folder = args.out / name
        missing = [one for one in args.detectors if not (folder / f"{one}.npz").exists()]
        if not missing:
            continue
        task = load_task(name, args.data, 5000 if args.final else 2000)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "labels", classes=task.classes, anomalous=task.anomalous)
        for detector in missing:
            if detector == "pretrained" and args.backbone is None:
                args.backbone = load_backbone(parse_backbone_source(args.weights))
            for one, arrays in reversed(scored(detector, task, args).items()):
                partial = folder / f"{one}.part.npz"
                np.savez(partial, **arrays)
                partial.rename(folder / f"{one}.npz")
                value = auc_of(arrays["test"], task.anomalous)
                print(
                    f"{name} {one}: AUC {value:.3f}, {arrays['seconds']:.0f} s to fit, "
                    f"{1e3 * arrays['each']:.1f} ms an image",
                    flush=True,
                )


Loaded = tuple[Mapping[str, DetectorScores], np.ndarray]  # detectors and which are anomalous


def load_scores(out: Path, name: str, detectors: list[str]) -> Loaded | None:
    """Read what `fit` kept of a task; None unless every detector is there."""
    folder, read = out / name, {}
    for one in detectors:
        if not (folder / f"{one}.npz").exists():
            return None
        arrays = dict(np.load(folder / f"{one}.npz"))
        start = "altered-"
        altered = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
        plain = {k: v for k, v in arrays.items() if not k.startswith(start)}
        read[one] = DetectorScores(altered=altered, **plain)
    return read, np.load(folder / "labels.npz")["anomalous"]


def table(args: argparse.Namespace) -> None:
    """Print the AUC of each detector, of each without one, and of each rule."""
    names = args.tasks or task_names(args.final)
    read = {name: load_scores(args.out, name, args.detectors) for name in names}
    tasks = {name: loaded for name, loaded in read.items() if loaded is not None}
    print(f"{'':34}" + " ".join(f"{short(name):>9}" for name in tasks) + "    mean  least")
    for one in args.detectors:
        row(one, [auc_of(task[one].test, truth) for task, truth in tasks.values()])
    for rule_name, rule in RULES.items():
        row(rule_name, [auc_of(rule(task), truth) for task, truth in tasks.values()])
    for one in args.detectors:
        rest = [({k: v for k, v in task.items() if k != one}, t) for task, t in tasks.values()]
        if args.detectors != [one]:
            rule = RULES[args.rule]
            row(f"{args.rule} without {one}", [auc_of(rule(task), t) for task, t in rest])
    for one in args.detectors:
        row(f"evidence of {one}", [evidence(task[one]) for task, _ in tasks.values()])
    if args.kinds:
        for one in args.detectors:
            for kind in ALTERATIONS:
                pairs = [(task[one].copied, task[one].altered) for task, _ in tasks.values()]
                known = [auc(c, a[kind]) if kind in a else np.nan for c, a in pairs]
                row(f"{one}: {kind}", known)


def short(name: str) -> str:
    """Shorten a task's name to what heads a column."""
    return name.replace("cifar10-", "").replace("defects-", "").replace("-bedroom", "")[:9]


def row(title: str, values: list[float]) -> None:
    cells = " ".join(f"{value:9.3f}" for value in values)
    print(f"{title:34.34}{cells}   {np.nanmean(values):.3f}  {np.nanmin(values):.3f}")


def auc_of(scores: np.ndarray, anomalous: np.ndarray) -> float:
    return auc(scores[~anomalous], scores[anomalous])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    fits = commands.add_parser("fit", help="fit detectors and keep their scores")
    fits.add_argument("data", type=Path)
    fits.add_argument("out", type=Path)
    fits.add_argument("--weights", default="tf_efficientnet_lite0", help="as adgan's --features")
    fits.add_argument("--transform-iters", type=int, default=1000)
    fits.set_defaults(run=fit)
    shows = commands.add_parser("table", help="join what was kept by every rule")
    shows.add_argument("out", type=Path)
    shows.add_argument("--rule", default="discriminant", choices=RULES)
    shows.add_argument("--kinds", action="store_true", help="evidence of each kind of alteration")
    shows.set_defaults(run=table)
    for command in (fits, shows):
        command.add_argument("--final", action="store_true", help="what is reported, not chosen by")
        command.add_argument("--tasks", nargs="+", help="these alone")
        command.add_argument("--detectors", nargs="+", default=DETECTORS)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
