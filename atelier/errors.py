"""The base of every error that a user can cause and mend."""


class AtelierError(Exception):
    """Expected failure: its message is one clear line (or a few) that names the thing and the remedy.

    Command lines print it and exit with `exit_code`.
    """

    exit_code = 1
