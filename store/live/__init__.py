"""The live side of the store, through Valkey: wake-ups for workers, signals for waiters, events for viewers.

What stays true: nothing is lost with it. The sweep publishes a wake-up again, a waiter polls its turn's
row, a cancel request comes with the next heartbeat too, and a viewer reads rows.
"""
