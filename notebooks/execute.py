"""Run the notebooks from their first cell to their last, each in a new folder, and keep their outputs.

``python notebooks/execute.py`` does it for all of them; it needs ``pip install -e ".[notebook]"``. What one writes, it
writes in a temporary folder, so that every run in it is trained anew.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
LONGEST = 600  # seconds that a cell may take, on a machine with other things to do


def notebooks() -> list[Path]:
    """List the notebooks of this folder."""
    return sorted(HERE.glob("*.ipynb"))


def execute(path: Path, folder: Path) -> Any:
    """Run all cells of a notebook in a folder, with this Python; return it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell has failed; the message shows it.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=LONGEST,
        kernel_name="python3",
        record_timing=False,  # nothing that is another at every time
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    return tidy(client.execute())


def tidy(notebook: Any) -> Any:
    """Leave out of a notebook what is of the time and the machine that it was run on: the last of a progress bar."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = output.text.replace("\r\n", "\n")
        blank = [output.output_type == "stream" and not output.text.strip() for output in cell.get("outputs", [])]
        if any(blank):
            cell.outputs = [output for output, is_blank in zip(cell.outputs, blank, strict=True) if not is_blank]
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def main() -> None:
    """Run the notebooks that are named, or all, and write each with its outputs."""
    for path in [Path(name).resolve() for name in sys.argv[1:]] or notebooks():
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder))
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
