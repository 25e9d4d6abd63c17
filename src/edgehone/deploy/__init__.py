"""Deployment: export, parity, latency, bundles."""
