"""The imports of our programs, for a process that programs are forked from: see `warm_process`.

What stays true: our packages are found by their place; no settings are read, and no module of agents is imported,
since both are those of the program that is forked; a signal of the terminal reaches the owner alone.
"""

import importlib
import os

import threadmill_packages

MODULES = (
    *("celery.bin.celery", "celery.apps.worker", "celery.apps.beat", "celery.concurrency.thread"),
    *("celery.concurrency.prefork", "celery.worker.consumer", "kombu.transport.redis", "flower.command"),
    *("threadmill.app", "tasks.turns", "tasks.files", "tasks.maintenance", "agent.assistant", "agent.loop"),
)

if os.getpid() != os.getpgid(0):
    os.setsid()
threadmill_packages.pin()
for _name in MODULES:
    importlib.import_module(_name)
