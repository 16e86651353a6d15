"""What tests build on. Needs pytest and pytest-asyncio; nothing else imports it."""
