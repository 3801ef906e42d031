"""What a run can show that something is to be done about: one file a kind of loss."""
