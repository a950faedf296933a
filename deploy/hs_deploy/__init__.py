"""The one-shot cluster and the umbrella command."""
