"""Retention: the deletion of threads and messages that policies say are past their time.

Read this before you change a line of it. Policies say what may stay (`policies`); the strictest
applies, field by field (`policy`). A thread that is due is found by an index (`due`); its cutoff
is computed (`cutoff`) and moved first (`move_cut`), under its row's lock, and from then on messages at
or below it are not read. Only then are they deleted, batch by batch (`deletion`); each batch checks
again that the thread is under no legal hold, at no work, and has no unfinished turn; the thread's own
row goes last, and only if it is empty. Where a policy asks for an archive, its part is written, and
read back, before its batch is deleted (`archive`). Each batch leaves one row
in `audit`, by the same transaction.

What stays true: nothing of a thread under legal hold is deleted; nothing of a thread that is at work
is; of a history that is read, each call has its result; every row that was deleted is counted in
exactly one row of `audit`. It can be stopped at any line, and run twice.
"""
