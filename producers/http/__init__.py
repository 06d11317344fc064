"""The HTTP gateway: an ASGI app over the producers, with one module a resource."""
