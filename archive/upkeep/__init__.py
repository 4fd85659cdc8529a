"""Looking after an archive: what is in it, is it whole, copies of it, taking things out, joining two."""
