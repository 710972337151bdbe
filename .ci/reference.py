"""Writes what is generated from the models: the tables of docs/settings.md, and .env.example."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kernel.config import reference  # noqa: E402 - after the path to it

page = ROOT / "docs" / "settings.md"
page.write_text(reference.into_page(page.read_text("utf-8")), "utf-8")
(ROOT / ".env.example").write_text(reference.env_example(), "utf-8")
