"""Callbacks: a receiver that knows nothing but keys, and its doors to aiohttp and ASGI."""
