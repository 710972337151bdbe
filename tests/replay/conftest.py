"""What the tests of replay data share: small files written on the spot, and the recorded sets."""

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
type WriteFile = Callable[[str, str], Path]


@pytest.fixture
def shared_data() -> Path:
    """The folder of recorded market data, kept outside the repository."""
    told = os.environ.get("WAVE_KERNEL_SHARED")
    folder = Path(told) / "data" if told else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("recorded market data is absent: set WAVE_KERNEL_SHARED to the folder above it")
    return folder


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    """Write a data file below a folder; its suffix decides how it is packed."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(text.encode()))
        elif name.endswith(".zip"):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(path.name.replace(".zip", ".csv"), text)
        else:
            path.write_text(text)
        return path

    return write
