"""Everything that runs or reads models: training, measuring, importing. Writes only through `archive`."""

PART_OF = "pathscope"
