"""Batch functions of the maintenance queue, which the command line calls, too. None of them knows Celery."""
