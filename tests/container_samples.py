"""Folders, archives and databases to find pictures in."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from adgan_cli.images.refs import Folder, ImageRef

CONTENT = {"a.png": b"first", "sub/b.png": b"second" * 1000, "sub/deeper/c": b""}


def image_ref(path: Path) -> ImageRef:
    """Refer to one file on its own."""
    return ImageRef(Folder(path.parent), path.name, path.name)


def numbered_images(folder: Path) -> list[ImageRef]:
    """Write twelve 4x4 images whose grey level is their number; 3 and 11 are damaged."""
    refs = []
    for number in range(12):
        path = folder / f"{number:02}.png"
        Image.new("L", (4, 4), number).save(path)
        if number in (3, 11):
            path.write_bytes(b"damaged")
        refs.append(image_ref(path))
    return refs


def picture(path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path, **options)
    return path


def touch(folder: Path, *names: str) -> Path:
    """Empty files: by their names, some are pictures."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def link(path: Path, to: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(to, target_is_directory=to.is_dir())
    except OSError:
        pytest.skip("no symbolic links here")
    return path


def mkfifo(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs here")
    os.mkfifo(path)


def make_folder(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    for name, data in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def make_zip(path: Path, content: dict[str, bytes] = CONTENT, packed=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def tar_member(name: str, data: bytes = b"", **fields) -> tuple[tarfile.TarInfo, io.BytesIO]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, io.BytesIO(data)


def make_tar(path: Path, content: dict[str, bytes] = CONTENT, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in content.items():
            archive.addfile(*tar_member(name, data))
    return path


def make_lmdb(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    lmdb = pytest.importorskip("lmdb")
    path.mkdir(parents=True)
    environment = lmdb.open(str(path), map_size=2**24)
    with environment.begin(write=True) as transaction:
        for name, data in content.items():
            transaction.put(name.encode("utf-8", "surrogateescape"), data)
    environment.close()
    return path


def lmdb_there() -> bool:
    try:
        import lmdb  # noqa: F401
    except ImportError:
        return False
    return True


def pack(folder: Path, path: Path) -> Path:
    """Pack what is in a folder, in an order that is not ours, without entries for folders."""
    files = sorted((f for f in folder.rglob("*") if f.is_file()), reverse=True)
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w") as archive:
            for file in files:
                archive.add(file, f"./{file.relative_to(folder).as_posix()}")
    return path


MAKERS = {"folder": make_folder, "set.zip": make_zip, "set.tar": make_tar, "set_lmdb": make_lmdb}
