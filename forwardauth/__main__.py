"""`python -m forwardauth` is the `forwardauth` command."""

from forwardauth.cli import main

if __name__ == "__main__":
    main()
