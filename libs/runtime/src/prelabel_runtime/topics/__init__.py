"""Topics: how they should be, what a Kafka lacks of that, and `python -m prelabel_runtime.topics plan | apply`."""
