"""Celery's configuration: data, with a reason beside every line that is not obvious."""
