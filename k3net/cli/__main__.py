"""`python -m k3net.cli` is `k3net`."""

import sys

from k3net.cli import main

sys.exit(main())
