"""After release: what a certificate is worth where inputs shift, drift and break."""
