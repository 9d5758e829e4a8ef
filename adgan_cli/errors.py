"""Every error adgan raises on purpose, each with the exit code that it ends the command with.

The message names the file or the flag and says what to do. Anything else that escapes is a bug
and keeps its traceback.
"""


class AdganError(Exception):
    """Base of all errors a user can cause; printed as one line."""

    exit_code = 1


class ConfigError(AdganError):
    """A setting, flag or path that cannot be used as given."""

    exit_code = 2


class NoImagesError(AdganError):
    """A folder or list that holds no usable picture."""

    exit_code = 3


class ImageError(AdganError):
    """One file that cannot be read as a picture; the message is the reason, without the path."""


class ModelFileError(AdganError):
    """A model or checkpoint that is missing, corrupt, foreign or from a newer adgan."""

    exit_code = 4


class DivergedError(AdganError):
    """Training that produced NaN, infinity or a critic beyond its Lipschitz bound."""

    exit_code = 5


class ScoresError(AdganError):
    """A table of scores that cannot be read back."""


class OutputError(AdganError):
    """A result that cannot be written: no permission, no space, a read-only folder."""


class ProcessError(AdganError):
    """The other processes that torchrun started cannot be reached."""
