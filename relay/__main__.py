"""`python -m relay`: hands over to the command line."""

import sys

from relay.cli import main

sys.exit(main(sys.argv[1:]))
