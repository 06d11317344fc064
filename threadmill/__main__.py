"""`python -m threadmill`: the same as the `threadmill` command."""

from threadmill.cli import main

if __name__ == "__main__":
    main()
