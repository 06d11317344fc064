"""The demonstration behind `make demo`: a stack, a backend that sends tickets, and a worker that is killed."""
