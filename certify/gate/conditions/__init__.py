"""What a policy can require: one file a kind of condition."""
