"""A page may run its own script, and nothing else; what it links to stays on this computer."""

import base64
import hashlib
import re
from pathlib import Path

import pytest

from adgan_cli.reports.page import require_local_link, write_page


def page(path: Path, script: str) -> str:
    values = {"sections": [], "bars": [], "notes": [], "with_p": False, "by": "", "detectors": []}
    counts = type("Counts", (), {"found": 0, "scored": 0, "failed": 0})
    write_page(
        path, "contact_sheet.html", script, title="t", settings={}, **{**values, "counts": counts}
    )
    return path.read_text(encoding="utf-8")


def test_the_policy_allows_the_script_that_is_in_the_page_by_its_hash(tmp_path):
    html = page(tmp_path / "index.html", "contact_sheet.js")
    (code,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', html)
    assert f"script-src &#39;sha256-{digest}&#39;" in policy
    assert policy.startswith("default-src &#39;none&#39;;")


def test_a_page_without_a_script_allows_none(tmp_path):
    html = page(tmp_path / "index.html", "")
    assert "<script" not in html and "script-src" not in html


@pytest.mark.parametrize("href", [None, "a.png", "../b%20c.png", "file:///a.png"])
def test_a_link_to_this_computer_stays_as_it_is(href):
    assert require_local_link(href) == href
