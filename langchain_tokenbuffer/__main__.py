"""`python -m langchain_tokenbuffer`."""

import sys

from langchain_tokenbuffer.replay import main

if __name__ == "__main__":
    sys.exit(main())
