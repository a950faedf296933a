"""`python -m hs_worker`."""

from hs_worker.cli import main

main()
