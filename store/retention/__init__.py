"""Retention: what is deleted because its time is over, and by nothing else but a person's wish.

Read this before you change a line of it. Policies say what may stay (`policies`); the strictest
applies, field by field (`policy`). A thread that is due is found by an index (`due`); its cut is
moved first (`cut`), under its row's lock, and from then on nobody reads what lies below. Only then
is that deleted, batch by batch (`removal`), each of which looks again whether the thread is held, at
work or asked something; the thread's own row goes last, and only if it is empty. What a policy wants
archived is written, and read back, before its batch is deleted (`archive`). Each batch leaves one row
in `audit`, by the same transaction.

What stays true: nothing of a thread under legal hold is deleted; nothing of a thread that is at work
is; of a history that is read, each call has its result; every row that was deleted is counted in
exactly one row of `audit`. It can be stopped at any line, and run twice.
"""
