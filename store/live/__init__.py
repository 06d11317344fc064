"""The live side of the store, through the broker's Valkey: wake-ups for workers, signals for waiters.

What stays true: nothing is lost with it. The sweep publishes a wake-up again, a waiter polls its turn's
row, and a cancel request comes with the next heartbeat too.
"""
