"""The monitor: evidence, gathered while a model is used, that its certificate no longer speaks for its inputs."""
