"""The embedded world: bodies in motion before calibrated cameras."""
