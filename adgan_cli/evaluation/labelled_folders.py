"""Pictures in folders, one a class: a user's own, two of them side by side, and LSUN's databases.

All of a set is read in one go, so that training and test are read by the same rules.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.labels import LabelledDataset, index_of, joined_notes, split_by_seed
from adgan_cli.images.archives import is_archive_name, is_database
from adgan_cli.images.find import Listing, find_inputs
from adgan_cli.images.pixels import PixelSet
from adgan_cli.images.refs import ImageRef
from adgan_cli.images.selection import Selection
from adgan_cli.text import plural

Read = Callable[[Listing], PixelSet]  # load_pixels with everything but the listing settled

_TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first that is there counts
_LAYOUT = "make it ROOT/{train,test}/<class>/ or ROOT/<class>/"


@dataclass
class _Plan:
    """What is to be read, and as what."""

    name: str
    classes: tuple[str, ...]
    listing: Listing  # of all there is, wanted or not
    train: list[tuple[ImageRef, int]] = field(default_factory=list)  # with labels
    test: list[tuple[ImageRef, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def split(
        self, label: int, found: list[ImageRef], seed: int, *, with_train: bool = True
    ) -> None:
        """Add the pictures of a class that came without a split."""
        train, test = split_by_seed(len(found), seed, label)
        if with_train:
            self.train += [(found[i], label) for i in train]
        self.test += [(found[i], label) for i in test]


def load_folder(
    root: Path,
    read: Read,
    *,
    seed: int,
    selection: Selection,
    normal_class: str | None = None,
) -> LabelledDataset:
    """Read ROOT/{train,test}/<class>/, ROOT/{train,val}/<class>/ or ROOT/<class>/, or an archive.

    Without train and test every class is split by the seed. normal_class: leave out what other
    classes have to train on. Raises ConfigError where there are no classes, or not that one.
    """
    listing = find_inputs([root], selection)
    tops = {item.name.partition("/")[0] for item in listing.items if "/" in item.name}
    test_folder = next((name for name in _TEST_FOLDERS if name in tops), None)
    if "train" in tops and test_folder:
        depth, used = 2, {"train", test_folder}
    elif any(item.name.startswith("train/") and item.name.count("/") > 1 for item in listing.items):
        raise ConfigError(f"{root} has train but neither test nor val; {_LAYOUT}")
    else:
        depth, used = 1, tops
    groups: dict[tuple[str, ...], list[ImageRef]] = {}
    astray = 0
    for item in listing.items:
        folders = tuple(item.name.split("/")[:-1][:depth])
        if len(folders) < depth or folders[0] not in used:
            astray += 1
        else:
            groups.setdefault(folders, []).append(item)
    classes = tuple(sorted({folders[-1] for folders in groups}))
    if not classes:
        raise ConfigError(f"{root} holds no folders of pictures, one a class; {_LAYOUT}")
    plan = _Plan(_name_of(root), classes, listing)
    chosen = None if normal_class is None else index_of(normal_class, classes, plan.name)
    for folders, found in groups.items():
        label = classes.index(folders[-1])
        wanted = chosen is None or label == chosen
        if depth == 1:
            plan.split(label, found, seed, with_train=wanted)
        elif folders[0] != "train":
            plan.test += [(item, label) for item in found]
        elif wanted:
            plan.train += [(item, label) for item in found]
    if depth == 1:
        plan.notes.append(f"split by seed {seed}")
    if astray:
        plan.notes.append(f"{plural(astray, 'file')} in no class's folder")
    return _loaded(plan, read)


def load_pair(
    normal: Path, anomalous: Path, read: Read, *, seed: int, selection: Selection
) -> LabelledDataset:
    """Read two folders, archives or databases: the classes `normal`, split by the seed, and
    `anomalous`, all of it to test on.

    Raises ConfigError for other paths, and if one of the two lies in the other.
    """
    for option, path in (("--normal", normal), ("--anomalous", anomalous)):
        if path.is_file() and not is_archive_name(path.name):
            raise ConfigError(f"{option}: {path} is a file; give a folder of pictures")
    if normal.exists() and anomalous.exists():
        ends = (normal.resolve(), anomalous.resolve())
        if ends[0] in (ends[1], *ends[1].parents) or ends[1] in ends[0].parents:
            raise ConfigError(
                f"--normal {normal} and --anomalous {anomalous} overlap; keep them apart"
            )
    listing = find_inputs([normal, anomalous], selection)
    name = f"{_name_of(normal)} against {_name_of(anomalous)}"
    plan = _Plan(name, ("normal", "anomalous"), listing)
    plan.split(0, [item for item in listing.items if item.container.path == normal], seed)
    plan.test += [(item, 1) for item in listing.items if item.container.path != normal]
    plan.notes.append(f"normal pictures split by seed {seed}")
    return _loaded(plan, read)


def load_lsun(root: Path, read: Read, *, normal_class: str | None = None) -> LabelledDataset:
    """Read LSUN's databases, `<scene>_train_lmdb` and `<scene>_val_lmdb`, in ROOT/lsun or ROOT.

    Tests are the validation pictures of every scene there, 300 each (footnote 6). normal_class:
    leave out what other scenes have to train on, which is millions. torchvision's own class
    would keep its keys in a pickle.
    """
    databases: dict[tuple[str, str], Path] = {}
    for folder in (root, root / "lsun"):
        for part in ("train", "val"):
            for path in sorted(folder.glob(f"*_{part}_lmdb")):
                if is_database(path):
                    databases[path.name.removesuffix(f"_{part}_lmdb"), part] = path
    classes = tuple(sorted({scene for scene, _ in databases}))
    if not classes:
        raise ConfigError(
            f"lsun: there is no database in {root / 'lsun'}; put LSUN's folders bedroom_train_lmdb,"
            " bedroom_val_lmdb and the *_val_lmdb of other scenes there, or name another"
            " --data-root (--download does not fetch them)"
        )
    chosen = None if normal_class is None else index_of(normal_class, classes, "lsun")
    used = {
        path: (part, classes.index(scene))
        for (scene, part), path in databases.items()
        if part == "val" or chosen is None or classes[chosen] == scene
    }
    listing = find_inputs(list(used))
    plan = _Plan("lsun", classes, listing)
    for item in listing.items:
        part, label = used[item.container.path]
        (plan.train if part == "train" else plan.test).append((item, label))
    return _loaded(plan, read)


def _loaded(plan: _Plan, read: Read) -> LabelledDataset:
    everything = plan.train + plan.test
    found = [item for item, _ in everything]
    pictures = read(replace(plan.listing, items=found))
    readable = set(pictures.names)
    kept = np.fromiter((item.name in readable for item in found), bool, len(found))
    labels = np.fromiter((label for _, label in everything), np.int64, len(found))[kept]
    trained = int(kept[: len(plan.train)].sum())
    if plan.listing.links:
        plan.notes.append(f"symbolic links left alone: {plan.listing.links}, see --follow-links")
    if left_out := len(pictures.failures):
        name, reason = pictures.failures[0]
        plan.notes.append(
            f"{plural(left_out, 'file')} unreadable and left out, the first {name}: {reason}"
        )
    return LabelledDataset(
        plan.name,
        plan.classes,
        *(_part(pictures, 0, trained), labels[:trained]),
        *(_part(pictures, trained, len(pictures)), labels[trained:]),
        *(pictures.names[:trained], pictures.names[trained:]),
        note=joined_notes(*plan.notes),
    )


def _part(pictures: PixelSet, start: int, end: int) -> np.ndarray:
    """Some of the pictures in a row: a view where they lie in a row, as in a large new cache."""
    indices = pictures.indices
    if indices is not None and end > start and (np.diff(indices[start:end]) == 1).all():
        return pictures.pixels[indices[start] : indices[end - 1] + 1]
    return pictures.take(slice(start, end))


def _name_of(path: Path) -> str:
    return path.resolve().name or str(path)
