"""The notebook of the docs, run anew: `python -m tests.docs_notebook` keeps what it shows."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

PATH = Path(__file__).resolve().parents[1] / "docs" / "with-pandas.ipynb"
PATIENCE = 300  # seconds a cell, for a machine that is busy


def kept() -> NotebookNode:
    """The notebook as it is in the docs."""
    return nbformat.read(PATH, as_version=4)


def executed(folder: Path) -> NotebookNode:
    """The same cells with what they show now; `folder` is where they write."""
    notebook = kept()
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    with tempfile.TemporaryDirectory(prefix="sms-jupyter-") as own, _of_nobody(Path(own)):
        client = NotebookClient(
            notebook,
            timeout=PATIENCE,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
            # Sockets of this folder: no port that others could ask.
            config=Config(KernelManager={"transport": "ipc", "ip": f"{own}/kernel"}),
        )
        client.execute()
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    return notebook


@contextmanager
def _of_nobody(folder: Path) -> Iterator[None]:
    """Let no configuration of a person's own Jupyter or settings change what is shown.

    `folder` has a short name: it holds sockets.
    """
    own = {
        **{name: str(folder / "jupyter") for name in ("JUPYTER_CONFIG_DIR", "IPYTHONDIR")},
        **{"JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "JUPYTER_PLATFORM_DIRS": "1"},
    }
    before = dict(os.environ)
    os.environ.update(own)
    os.environ.pop("SMS_SETTINGS", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(Path(folder)), PATH)
