"""Video restoration: streams, planes, and the worker process."""
