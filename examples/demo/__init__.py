"""The demonstration behind `make demo`: a stack, a backend with tickets, a worker that is killed."""
