"""The servers and programs of Threadmill as children of one process: what `threadmill up` runs."""
