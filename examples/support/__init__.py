"""A shop's support desk: an agent with tools that read and write, and tickets to try it on."""
