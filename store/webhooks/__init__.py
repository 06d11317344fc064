"""Webhooks: who is told of events, and the outbox of deliveries.

What stays true: an event is written by the transaction that brought it about, for each webhook that is told of it
then; it is sent later, at least once, in the order of its thread, and always under the same id.
"""
