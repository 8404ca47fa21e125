"""The one kind of error a user is meant to read."""


class NinyError(Exception):
    """Something a user can mend, in one line: the thing and the remedy. The command line prints it and exits 1."""


class BusyError(NinyError):
    """Another process has the lock."""


class UnwritableError(NinyError):
    """The destination, not the source, is at fault: trying another source would be in vain."""


READABLE = tuple(kind.__name__ for kind in (NinyError, BusyError, UnwritableError))
