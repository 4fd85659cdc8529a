"""When things happen: events as people write them, their times as brackets, and times and orders over runs."""
