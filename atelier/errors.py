"""The base of every error that a user can cause and mend."""

import re

# What a terminal would obey, and what no encoding knows (half of a surrogate pair); a line break and a tab stay.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class AtelierError(Exception):
    """Expected failure: its message is one clear line (or a few) that names the thing and the remedy.

    Command lines print it and exit with `exit_code`. What it quotes of a damaged file is written as escapes where it would not
    be printed.
    """

    exit_code = 1

    def __str__(self) -> str:
        return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], super().__str__())
