"""The command line: the verbs that the shell user and the workflow's rules call, and their arguments."""

from .main import main, parser

__all__ = ["main", "parser"]
