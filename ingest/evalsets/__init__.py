"""One file per kind of eval set, beside what they share; discovery imports every module here."""
