"""The soak: a real run at a steady rate, with faults, outages and kills, that must neither grow nor lose a row."""
