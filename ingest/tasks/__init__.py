"""One file per task; discovery imports every module here."""
