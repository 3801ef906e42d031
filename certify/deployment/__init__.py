"""What a certificate is worth after release."""
