"""The one error that means: the user's input is at fault."""

from tables.names import nearest

__all__ = ["UserError", "nearest"]


class UserError(Exception):
    """One clear line for the person at the command line, which prints it and exits with status 2."""
