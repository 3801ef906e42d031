"""Branch and bound over inputs."""
