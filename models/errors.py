"""Mistakes that a user can mend.

Everything raised on purpose for a bad input is a `PocketfleetError`. Its message is one line that
names the thing, the value, the bound and the cure; the command line prints that line and exits
with a code other than 0. Any other exception is a bug and keeps its stack trace.

    PocketfleetError
    ├── SettingsError   a key or value in a preset, an override or an option
    ├── DataError       a file or folder that a user or a registry gave us
    ├── BudgetError     something is larger than the bytes it may have
    └── EngineError     an engine could not run, or lost replies that it must have
"""


class PocketfleetError(Exception):
    """Base of all mistakes that a user can mend."""


class SettingsError(PocketfleetError):
    """A setting is unknown, out of its bounds, or in conflict with another one."""


class DataError(PocketfleetError):
    """A file is missing, damaged, unreadable, or does not hold what it should."""


class BudgetError(PocketfleetError):
    """A bundle or package has more bytes than its budget allows."""


class EngineError(PocketfleetError):
    """An engine failed, or returned fewer replies than the protocol needs."""
