"""The command `bulkredeem`, also as `python -m bulkredeem`."""

from bulkredeem.cli import main

if __name__ == "__main__":
    main()
