"""For tests: a provider that keeps a ledger of its calls, and crashes, hangs or raises when told."""
