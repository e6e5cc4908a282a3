"""The one place for what differs between versions of libraries, or is not part of their public interfaces.

A file for each library. `pyproject.toml` has the versions that were tried; `tests/compat` says what broke in another.
"""
