"""The documentation as pages: the files of `docs/`, and a reference from docstrings."""
