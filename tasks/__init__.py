"""The work of workers: the Celery app, the worker's process, and tasks whose bodies are a few lines each."""
