"""Read an LMDB database by its pages, each checked before it is followed.

LMDB maps its file into memory and follows page numbers unchecked: a few changed bytes, or a file
cut short, end the process without a word (bus error). Here a page that does not fit is an error of
the key that needs it. The layout is that of LMDB 0.9 (mdb.c, "Page Header" ff.) as 64-bit
little-endian machines write it: a B+ tree of pages, each beginning with its own number.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from adgan_cli.images.memory import READING

_PAGE = struct.Struct("<QHHHH")  # number, unused, flags, end of the node table, start of the nodes
_OVERFLOW = struct.Struct("<QHHI")  # number, unused, flags, pages in a row
_META = struct.Struct("<II16x")  # magic, version; address, size of the map
_TREE = struct.Struct("<IHHQQQQQ")  # page size, flags, depth, pages of three kinds, entries, root
_LAST = struct.Struct("<QQ")  # last page, transaction
_NODE = struct.Struct("<IHH")  # size of the value or page below, flags or its upper bits, key size
_HEADER = _PAGE.size
_BRANCH, _LEAF, _IS_OVERFLOW, _IS_META = 0x01, 0x02, 0x04, 0x08
_BIG_VALUE, _SUB_DATABASE, _DUPLICATES = 0x01, 0x02, 0x04  # flags of a node
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NO_PAGE = 2**64 - 1
_DEEPEST = 32  # LMDB's own limit
_PAGE_SIZES = [2**power for power in range(9, 17)]
_OTHER_ORDERS = 0x02 | 0x04 | 0x08  # flags of a database: MDB_REVERSEKEY, DUPSORT, INTEGERKEY


class DamagedPagesError(Exception):
    """Pages of a database that do not fit together; the message says which and why."""


@dataclass(frozen=True)
class _Nodes:
    """The nodes of a branch or leaf, at least one; each is checked when it is looked at."""

    number: int  # of the page
    data: bytes
    count: int

    def __getitem__(self, index: int) -> memoryview:
        (start,) = struct.unpack_from("<H", self.data, _HEADER + 2 * index)
        node = memoryview(self.data)[start:]
        if len(node) < _NODE.size or len(node) < _NODE.size + _NODE.unpack_from(node)[2]:
            raise DamagedPagesError(f"a key of page {self.number} ends outside of it")
        return node

    def key(self, index: int) -> bytes:
        node = self[index]
        return bytes(node[_NODE.size : _NODE.size + _NODE.unpack_from(node)[2]])

    def below(self, index: int) -> int:
        """Get the page that a node of a branch leads to."""
        low, high, _ = _NODE.unpack_from(self[index])
        return int(low | high << 32)

    def last_up_to(self, key: bytes, *, first: int) -> int:
        """Find the last node from `first` on whose key is not above `key`; first - 1 if none is."""
        return bisect_right(range(self.count), key, lo=first, key=self.key) - 1


@dataclass(frozen=True)
class LmdbPages:
    """The key-value pairs of a database file, in the order of the keys' bytes."""

    path: Path  # data.mdb
    page_size: int
    page_count: int
    depth: int
    root: int

    def keys(self) -> Iterator[bytes]:
        """Yield all keys, ascending. Raises DamagedPagesError and OSError."""
        if self.root == _NO_PAGE:
            return
        last = b""
        with self._opened() as file:
            stack: list[Iterator[int]] = [iter([self.root])]
            while stack:
                number = next(stack[-1], None)
                if number is None:
                    stack.pop()
                    continue
                nodes = self._nodes(file, number, is_leaf=len(stack) == self.depth)
                if len(stack) < self.depth:
                    stack.append(map(nodes.below, range(nodes.count)))
                    continue
                for key in map(nodes.key, range(nodes.count)):
                    if key <= last:  # also what a circle of pages comes to
                        raise DamagedPagesError(f"keys out of order on page {number}")
                    last = key
                    yield key

    def get(self, key: bytes) -> bytes | None:
        """Read the value of a key; None if there is none. Raises DamagedPagesError and OSError."""
        if self.root == _NO_PAGE:
            return None
        with self._opened() as file:
            number = self.root
            for _ in range(self.depth - 1):
                nodes = self._nodes(file, number, is_leaf=False)
                # the first key of a branch is none: all that are below the second are there
                number = nodes.below(nodes.last_up_to(key, first=1))
            nodes = self._nodes(file, number, is_leaf=True)
            index = nodes.last_up_to(key, first=0)
            if index < 0 or nodes.key(index) != key:
                return None
            return self._value(file, nodes[index], number)

    def _opened(self) -> IO[bytes]:
        return open(self.path, "rb", buffering=0)  # its own: threads need not share a position

    def _read(self, file: IO[bytes], number: int, count: int, flag: int) -> bytes:
        """Read pages in a row, the first of which has to be of the kind that `flag` stands for."""
        if not 2 <= number <= self.page_count - count:
            raise DamagedPagesError(f"page {number} of {self.page_count}")
        file.seek(number * self.page_size)
        data = b""
        while len(data) < count * self.page_size:
            part = file.read(count * self.page_size - len(data))
            if not part:
                raise DamagedPagesError(f"page {number} behind the end of the file")
            data += part
        own_number, _, flags = _PAGE.unpack_from(data)[:3]
        if own_number != number or not flags & flag:
            raise DamagedPagesError(f"page {number} is not what it should be")
        return data

    def _nodes(self, file: IO[bytes], number: int, *, is_leaf: bool) -> _Nodes:
        page = self._read(file, number, 1, _LEAF if is_leaf else _BRANCH)
        end = _PAGE.unpack_from(page)[3]
        if not _HEADER + 2 <= end <= self.page_size:
            raise DamagedPagesError(f"page {number} has no table of nodes")
        return _Nodes(number, page, (end - _HEADER) // 2)

    def _value(self, file: IO[bytes], node: memoryview, number: int) -> bytes:
        size, flags, key_size = _NODE.unpack_from(node)
        start = _NODE.size + key_size
        if not flags & _BIG_VALUE:
            if flags & (_SUB_DATABASE | _DUPLICATES):
                raise DamagedPagesError("a database of its own, not a value")
            if start + size > len(node):
                raise DamagedPagesError(f"a value of page {number} ends outside of it")
            return bytes(node[start : start + size])
        if start + 8 > len(node):
            raise DamagedPagesError(f"a value of page {number} ends outside of it")
        first = int.from_bytes(node[start : start + 8], "little")
        count = -(-(_HEADER + size) // self.page_size)
        READING.need(count * self.page_size)
        data = self._read(file, first, count, _IS_OVERFLOW)
        if _OVERFLOW.unpack_from(data)[3] < count:
            raise DamagedPagesError(f"the value on page {first} is shorter than it should be")
        return data[_HEADER : _HEADER + size]


def open_pages(path: Path) -> LmdbPages:
    """Read what a database file says of itself. Raises DamagedPagesError and OSError."""
    with open(path, "rb") as file:
        first, transaction = _meta(file, path, 0)
        second, later = _meta(file, path, first.page_size)
    return second if later > transaction else first  # they are written in turn


def _meta(file: IO[bytes], path: Path, offset: int) -> tuple[LmdbPages, int]:
    """Read a meta page, with the number of the transaction that wrote it."""
    file.seek(offset)
    data = file.read(_HEADER + _META.size + 2 * _TREE.size + _LAST.size)
    if len(data) < _HEADER + _META.size + 2 * _TREE.size + _LAST.size:
        raise DamagedPagesError("it is too short")
    if not _PAGE.unpack_from(data)[2] & _IS_META:
        raise DamagedPagesError("it does not begin as one of a 64-bit little-endian machine")
    if _META.unpack_from(data, _HEADER) != (_MAGIC, _VERSION):
        raise DamagedPagesError("it is not of LMDB 0.9")
    page_size = _TREE.unpack_from(data, _HEADER + _META.size)[0]
    _, flags, depth, *_, root = _TREE.unpack_from(data, _HEADER + _META.size + _TREE.size)
    last_page, transaction = _LAST.unpack_from(data, _HEADER + _META.size + 2 * _TREE.size)
    if page_size not in _PAGE_SIZES or (root != _NO_PAGE and not 1 <= depth <= _DEEPEST):
        raise DamagedPagesError("its page size or depth makes no sense")
    if flags & _OTHER_ORDERS:
        raise DamagedPagesError("it has several values a key, or keys in an order of their own")
    return LmdbPages(path, page_size, last_page + 1, depth, root), transaction
