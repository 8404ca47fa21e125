"""The one kind of error a user is meant to read."""


class NinyError(Exception):
    """Something a user can mend, in one line: the thing and the remedy. The command line prints it and exits 1."""
