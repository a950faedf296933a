"""The broker: who is alive, who has credit, which bundle is leased to whom."""
