"""The gateway: one address in front of the services, for whatever their OpenAPI documents name. It keeps no state."""
