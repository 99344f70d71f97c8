"""Metrics for Prometheus. The only place that imports prometheus-client; nothing here decides anything."""
