"""What every Prelabel service stands on: bus, store, delivery loop, settings, metrics, logs, health."""
