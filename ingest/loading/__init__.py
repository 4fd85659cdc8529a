"""Load studies: eval sets frozen for each tokenizer, what is wanted of each run, what it costs."""
