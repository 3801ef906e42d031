"""Edge cases near the decision boundary, the shape of a fall, and costs under load."""
