"""How hosts are reached: proxies, TLS, and one pool of connections for each kind of request."""
