"""Finding stored state that contradicts itself, and mending what can be mended without a guess.

What stays true: an inspection changes nothing and holds no lock; every repair is one short transaction
that locks the thread's row first and checks again under the lock, so that all of it may run beside
living workers, and any number of times. Messages are never changed, moved or deleted.
"""

from store.doctor.catalogue import CHECKS
from store.doctor.examination import Examination, Note, Outcome, Result
from store.doctor.finding import Check, Finding
from store.doctor.inspection import Scope

__all__ = ["CHECKS", "Check", "Examination", "Finding", "Note", "Outcome", "Result", "Scope"]
