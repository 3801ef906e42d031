"""Changes that nobody made on purpose, at five severities: what a sensor, the light or a typist does to an input."""
