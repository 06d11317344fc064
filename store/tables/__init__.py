"""The tables. Children refer to a thread by its internal `key`; users see `(tenant, id)`."""

from store.tables.threads import *  # noqa: F403
