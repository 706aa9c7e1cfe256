"""``python -m punktfunk`` is the ``punktfunk`` program."""

from punktfunk.cli import main

if __name__ == "__main__":
    main()
