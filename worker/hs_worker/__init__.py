"""The worker: slots, processes, limits, output, resource use."""
