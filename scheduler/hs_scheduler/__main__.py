"""`python -m hs_scheduler` is `hs-scheduler`."""

from hs_scheduler.cli import main

main()
