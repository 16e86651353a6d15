"""Ingestion: the doors through which tasks and annotations come in, and the dispatcher behind them."""
