"""The name of who runs a command, for whoever asks later who did it."""

import getpass
import os


def name_of_user() -> str:
    """The user of the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that has no name.
        return f"uid {os.getuid()}"
