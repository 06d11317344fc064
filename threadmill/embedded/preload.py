"""The imports of our programs, for a process that programs are forked from: see `warm_process`.

What stays true: our packages are found by their place; no settings are read, and no module of agents is imported,
since both are those of the program that is forked; a signal of the terminal reaches the owner alone, and the death of
the owner ends this process. By itself it would wait for its children, which wait for it.
"""

import ctypes
import importlib
import os
import signal
import sys

import threadmill_packages
from threadmill.embedded.tether import SET_PARENT_DEATH_SIGNAL

MODULES = (
    *("celery.bin.celery", "celery.apps.worker", "celery.apps.beat", "celery.concurrency.thread"),
    *("celery.concurrency.prefork", "celery.worker.consumer", "kombu.transport.redis", "flower.command"),
    *("threadmill.app", "tasks.turns", "tasks.files", "tasks.maintenance", "agent.assistant", "agent.loop"),
)

# The arguments of multiprocessing's server of forks: no other process is changed by importing this.
if sys.argv == ["-c"]:
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
threadmill_packages.pin()
for _name in MODULES:
    importlib.import_module(_name)
