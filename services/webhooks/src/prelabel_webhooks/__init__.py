"""Webhooks: delivers what happened to who subscribed, signed, at least once, over days if need be."""
