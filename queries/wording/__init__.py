"""What answers of one kind say and cannot say, in words."""
