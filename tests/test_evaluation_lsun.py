"""LSUN is read from its own databases, and only what is needed of them."""

import io
from pathlib import Path

import numpy as np
import pytest
from labelled_images import everything_below, load
from PIL import Image

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.datasets.labelled import class_index


def database(path: Path, count: int, level: int) -> None:
    """An LMDB database as LSUN's: the values are pictures."""
    lmdb = pytest.importorskip("lmdb")
    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=2**20) as environment:
        with environment.begin(write=True) as transaction:
            for number in range(count):
                buffer = io.BytesIO()
                Image.new("L", (4, 4), level + number).save(buffer, "PNG")
                transaction.put(f"{number:04}".encode(), buffer.getvalue())


@pytest.mark.parametrize("below", ["lsun", "."])
def test_lsun_is_read_from_its_own_databases(tmp_path, below):
    root = tmp_path / below
    database(root / "bedroom_train_lmdb", 12, 100)
    for level, scene in enumerate(["bridge", "bedroom", "dining_room"]):
        database(root / f"{scene}_val_lmdb", 3, 10 * level)
    before = sorted(everything_below(tmp_path))
    got = load("lsun", root=tmp_path, size=16, normal_class="bedroom")
    assert got.classes == ("bedroom", "bridge", "dining_room")
    assert got.train.labels.tolist() == [0] * 12
    assert got.train.pixels[:, 0, 0, 0].tolist() == list(range(100, 112))
    assert dict(zip(got.test.names, got.test.labels, strict=True))["bridge_val_lmdb/0002"] == 1
    assert np.bincount(got.test.labels).tolist() == [3, 3, 3]
    assert class_index(got, "bedroom") == 0
    assert sorted(everything_below(tmp_path)) == before  # torchvision would pickle the keys


def test_training_pictures_of_other_scenes_stay_closed(tmp_path):
    for scene in ("bedroom", "bridge"):
        database(tmp_path / f"{scene}_train_lmdb", 12, 0)
        database(tmp_path / f"{scene}_val_lmdb", 2, 0)
    assert len(load("lsun", root=tmp_path, size=16).train.pixels) == 24
    (tmp_path / "bridge_train_lmdb" / "data.mdb").write_bytes(b"not to be opened")
    assert len(load("lsun", root=tmp_path, size=16, normal_class="bedroom").train.pixels) == 12


def test_absent_lsun_says_what_to_put_where(tmp_path):
    with pytest.raises(ConfigError, match="no database in .*lsun; put .*bedroom_train_lmdb"):
        load("lsun", root=tmp_path, download=True)
