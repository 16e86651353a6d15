"""The contract of Prelabel: events, regions, ids and names. Values only; nothing here does I/O."""
