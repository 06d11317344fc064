"""Tools: declaring a function to a model, checking its arguments, running it, reading its result."""
