"""What every daemon shares: messages, their codec, sockets, keys, settings, logs."""

__version__ = "0.1.0"
