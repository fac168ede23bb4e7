"""`python -m longline` is the `longline` command."""

from .cli import main

if __name__ == "__main__":
    main()
