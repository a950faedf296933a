"""The daemons of one cluster while they run: who is started again, who is told to stop, and what each of them says."""
