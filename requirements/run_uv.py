"""Run uv on the environment of this Python, with the package indexes that pip is configured to use.

    python requirements/run_uv.py pip install -r requirements/demo.txt

uv reads none of pip's files and variables, so a machine that is set up for a mirror would be asked
twice. What stays true: a variable of uv's own that is set wins; nothing is chosen here that pip
would not have chosen; hashes in the lock files decide what is accepted, whoever serves it.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

#: pip's setting → uv's variable, and the older variable of the same meaning.
INDEXES = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "trusted-host": ("UV_INSECURE_HOST", ""),
    "proxy": ("ALL_PROXY", "HTTPS_PROXY"),
    "cert": ("SSL_CERT_FILE", ""),
}


def main() -> int:
    """Run uv as this script was called; returns its exit status."""
    environment = uv_environment(os.environ, read_pip_settings())
    command = [Path(sys.prefix) / "bin" / "uv", *sys.argv[1:]]
    return subprocess.run(command, env=environment, check=False).returncode


def read_pip_settings() -> dict[str, str]:
    """Read pip's configuration, files and variables together."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    return settings_in(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def settings_in(listing: str) -> dict[str, str]:
    """pip's own listing as values by name; white space divides several values."""
    ranked_values: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        section, _, remainder = line.partition(".")
        name, separator, value = remainder.partition("=")
        # As pip ranks them: a variable, then the file's section of the command, then the global one.
        rank = {"global": 0, "install": 1, ":env:": 2}.get(section)
        if separator and rank is not None and rank >= ranked_values.get(name, (0, ""))[0]:
            ranked_values[name] = (rank, " ".join(str(ast.literal_eval(value)).split()))
    return {name: value for name, (_, value) in ranked_values.items()}


def uv_environment(variables: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """The variables for uv: those that are given, and what pip's settings say where they say nothing."""
    environment = {**variables, "VIRTUAL_ENV": sys.prefix}
    # As pip does: trust the authorities that this system trusts.
    environment.setdefault("UV_SYSTEM_CERTS", "1")
    for setting, (variable, older_variable) in INDEXES.items():
        if pip.get(setting) and not (variables.get(variable) or variables.get(older_variable)):
            environment[variable] = pip[setting]
    # uv refuses a folder that is not there; pip passes over it.
    links = [link for link in pip.get("find-links", "").split() if "://" in link or Path(link).exists()]
    if links:
        environment.setdefault("UV_FIND_LINKS", ",".join(links))
    if pip.get("extra-index-url"):
        # pip takes the best version of all indexes; the hashes make that safe.
        environment.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return environment


if __name__ == "__main__":
    sys.exit(main())
