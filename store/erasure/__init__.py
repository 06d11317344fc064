"""Erasure: everything that is stored of a person, or of one thread, goes, because somebody asked.

Read this before you change a line of it. First every thread of the subject is fenced off in one short
transaction each: its token is raised, so that a worker that still runs can write nothing any more; its
turns are cancelled; its cut moves to its end, so that nobody reads it. Then it is deleted in batches,
as retention does; then the files that nobody else has; then archives. What was removed is counted by
the transaction that removed it, so an erasure that was killed goes on with the next call, or with
retention's run (`unfinished`), and its certificate counts all of it.

What stays true: a thread under legal hold refuses the whole erasure before anything is touched, and
stops one that is under way: then threads that are still there are read again, and it stays unfinished
until the hold is released; nothing of another thread, user or tenant is touched; what stays behind
(`audit`, `erasures`) names nobody: ids stand there as hashes.
"""
