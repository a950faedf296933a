"""`python -m hs_broker`."""

from hs_broker.cli import main

main()
