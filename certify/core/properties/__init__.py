"""What has to stay true about a model's outputs: one file a property."""
