"""`python -m turboprop` is `tp`."""

from turboprop.edges.cli.entry import main

if __name__ == "__main__":
    main()
