"""`python -m core.cli` is `kindred`."""

from core.cli import main

if __name__ == "__main__":
    main()
