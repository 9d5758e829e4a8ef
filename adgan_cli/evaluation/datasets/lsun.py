"""LSUN's scenes from their own databases (footnote 6)."""

from pathlib import Path

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.datasets.folders import Read, ReadingPlan
from adgan_cli.evaluation.datasets.labelled import LabelledDataset, index_of
from adgan_cli.images.archives import is_database
from adgan_cli.images.find import find_inputs


def load_lsun(root: Path, read: Read, *, normal_class: str | None = None) -> LabelledDataset:
    """Read the databases `<scene>_train_lmdb` and `<scene>_val_lmdb` in ROOT/lsun or ROOT.

    Tests are the validation images of every scene there, 300 each. normal_class: leave out what
    other scenes have to train on, which is millions.
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
    normal = None if normal_class is None else index_of(normal_class, classes, "lsun")
    wanted = {
        path: (part, classes.index(scene))
        for (scene, part), path in databases.items()
        if part == "val" or normal is None or classes[normal] == scene
    }
    plan = ReadingPlan("lsun", classes, find_inputs(list(wanted)))
    for item in plan.listing.items:
        part, label = wanted[item.container.path]
        (plan.train if part == "train" else plan.test).append((item, label))
    return plan.load(read)
