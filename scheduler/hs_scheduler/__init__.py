"""The scheduler: owns the store, reads the input, hands out bundles, records results."""
