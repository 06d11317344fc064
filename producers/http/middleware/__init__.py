"""The middleware of the gateway: pure ASGI, so that streams pass through it piece by piece."""
