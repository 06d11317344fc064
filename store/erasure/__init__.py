"""Erasure: the deletion, on request, of all that is stored of a user, a thread or a tenant.

Read this before you change a line of it. First every thread of the subject is locked out in one short
transaction each: its fencing token is raised, so that a worker that still runs can write nothing any
more; its turns are cancelled; its cutoff moves to its end, so that it is no longer read. Then it is
deleted in batches, as retention does; then the files that no other thread has; then archives. What was
removed is counted by the transaction that removed it, so an erasure that was killed goes on with the
next call, or with retention's run (`unfinished`), and its certificate counts all of it.
A thread goes with its owner; what a user said in threads of others is erased in its place (`sent_turns`).

What stays true: a thread under legal hold refuses the whole erasure before anything is touched, and
stops one that is under way: then threads that are still there are read again, and it stays unfinished
until the hold is released; nothing that another user said, of another thread or tenant, is touched; what stays behind
(`audit`, `erasures`) names no user and no thread: ids stand there as hashes.
"""
