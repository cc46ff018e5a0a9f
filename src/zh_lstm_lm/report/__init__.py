"""Reports: runs and studies as an HTML page, plots as SVG, scored texts as a heat map."""
