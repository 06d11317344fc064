"""Remote control: what Flower may ask a worker through the broker, and nothing else."""
