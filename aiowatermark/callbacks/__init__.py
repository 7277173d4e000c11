"""Callbacks: the receiver of the providers' callbacks, its bridges to aiohttp and ASGI, and an embedded server."""
