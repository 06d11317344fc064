"""Django as a backend uses it, with a table of its own beside ours. Configured once a process."""

import django
from django.conf import settings
from django.db import ConnectionHandler, connections
from sqlalchemy import make_url


def configure(database_url: str) -> None:
    """Make Django's `default` database this one, with no connection open."""
    url = make_url(database_url)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.database,
        "USER": url.username,
        "PASSWORD": url.password,
        "HOST": url.host,
        "PORT": url.port,
    }
    if not settings.configured:
        settings.configure(
            DATABASES={"default": database}, USE_TZ=True, TIME_ZONE="Asia/Tokyo", ALLOWED_HOSTS=["testserver"]
        )
        django.setup()
    connections.close_all()
    fresh = ConnectionHandler({"default": database})
    connections.settings = fresh.configure_settings({"default": database})
    for alias in list(connections):
        if hasattr(connections._connections, alias):
            del connections[alias]
