"""Faults injected into a whole installation, and a look afterwards at what it did to the conversations.

`python -m tests.chaos --help` runs it; `make chaos` runs it at full length, `make test` a short form.

What stays true: faults hit real processes and real servers; what is asserted is read from the
database, from the effects that tools left in a table of their own, and from the bytes in the bucket.
"""
