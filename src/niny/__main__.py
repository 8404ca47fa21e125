"""`python -m niny`: the same as the console script, for machines where the package is not installed."""

from niny.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
