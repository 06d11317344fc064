"""Examples to run and to read. Nothing else in the project imports them."""
